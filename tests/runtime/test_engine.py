"""The engine's thread from loading to its end, with a painter that only counts. No torch."""

import time

import pytest

from sdxl_runtime.batcher import Batcher
from sdxl_runtime.engine import Engine, EngineStopped
from sdxl_runtime.health import Health, State
from sdxl_runtime.metrics import Metrics
from tests.runtime.counting import FOUR, ONE, CountingPainter, a_job, running


def test_every_bucket_runs_with_its_full_batch_before_it_is_ready() -> None:
    painter = CountingPainter()
    with running(painter, (ONE, FOUR)) as r:
        assert r.health.state is State.READY
        assert "encode warm-up [0, 1, 2, 3]" in painter.calls
        assert painter.calls.count("step 64x64b1 warm-up0") == 4
        assert painter.calls.count("step 64x64b4 warm-up0 warm-up1 warm-up2 warm-up3") == 4
        assert "preview warm-up0" in painter.calls
        assert all(bucket["state"] == "Ready" for bucket in r.health.to_json()["buckets"])


def test_the_refiner_is_warmed_up_too() -> None:
    painter = CountingPainter(refines=True)
    with running(painter, (FOUR,)):
        assert "refine 64x64b4 warm-up0 warm-up1 warm-up2 warm-up3" in painter.calls


def test_a_buckets_cost_is_its_fastest_step() -> None:
    delays = iter([0.08, 0.01, 0.05, 0.05])
    painter = CountingPainter(lambda: time.sleep(next(delays)))
    with running(painter) as r:
        assert 0.01 <= r.engine.costs[ONE].step < 0.05
        shown = r.health.to_json()["buckets"][0]["millisecondsPerStep"]
        assert shown == pytest.approx(r.engine.costs[ONE].step * 1000, abs=0.001)


def test_three_failures_in_a_row_end_the_engine_and_everybody_learns_it() -> None:
    painter = CountingPainter()
    with running(painter) as r:

        def fail() -> None:
            raise RuntimeError("the device is lost")

        painter.on_step = fail
        tickets = [r.batcher.submit(a_job()) for _ in range(5)]
        errors = [ticket.result.exception(10) for ticket in tickets]
        assert [type(error) for error in errors] == [RuntimeError] * 3 + [EngineStopped] * 2
        assert r.engine.join(10)
        assert r.health.state is State.FAILED
        assert "the device is lost" in r.health.to_json()["message"]


def test_a_painter_that_cannot_be_opened_is_the_engines_error() -> None:
    health, batcher = Health((ONE,)), Batcher(1000, 60, {})

    def fail() -> CountingPainter:
        raise FileNotFoundError("no model")

    engine = Engine(fail, batcher, health, Metrics("CPU"), (ONE,), {})
    engine.start()
    assert engine.settled.wait(10)
    assert engine.join(10)
    assert isinstance(engine.error, FileNotFoundError)
    assert health.state is State.FAILED
    assert batcher.collect(wait=True) is None


def test_what_is_compiled_after_ready_is_counted() -> None:
    painter = CountingPainter(compiled=7)
    with running(painter) as r:
        assert b"sdxl_recompiles 0.0" in r.metrics.render(0, 0, 0)
        painter.compiled = 9
        assert b"sdxl_recompiles 2.0" in r.metrics.render(0, 0, 0)
