"""The engine's thread with a painter that only counts: order, turns, cancels, failures, warm-up. No torch."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from PIL import Image

from sdxl_runtime.batcher import Batcher
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.engine import Engine, EngineStopped
from sdxl_runtime.health import Health, State
from sdxl_runtime.jobs import Abandoned, Job
from sdxl_runtime.metrics import Metrics

ONE, FOUR = Bucket(64, 64), Bucket(64, 64, 4)


@dataclass
class Row:
    index: int
    steps_left: int

    @property
    def done(self) -> bool:
        return self.steps_left == 0


class CountingPainter:
    """Writes down what it is asked; `on_step` may fail or wait."""

    token_limit = 77

    def __init__(self, on_step: Callable[[], None] = lambda: None) -> None:
        self.calls: list[str] = []
        self.on_step = on_step

    def count_tokens(self, text: str) -> int:
        return 2

    def synchronise(self) -> None:
        self.calls.append("synchronise")

    def encode(self, job: Job, indices: Sequence[int]) -> list[Row]:
        self.calls.append(f"encode {job.prompt} {list(indices)}")
        return [Row(index, job.steps) for index in indices]

    def step(self, bucket: Bucket, rows: Sequence[Row]) -> None:
        self.calls.append(f"step {bucket.key} {len(rows)}")
        self.on_step()
        for row in rows:
            row.steps_left -= 1

    def decode(self, row: Row) -> Image.Image:
        self.calls.append(f"decode {row.index}")
        return Image.new("RGB", (64, 64), (row.index, 0, 0))

    def after_warm_up(self) -> list[str]:
        """The calls that belong to no warm-up."""
        last = max(i for i, call in enumerate(self.calls) if call == "synchronise")
        return self.calls[last + 1 :]


def a_job(prompt: str = "x", n: int = 1, steps: int = 3, bucket: Bucket = ONE) -> Job:
    return Job(prompt, None, bucket, n, 0, steps, 5.0, "Euler")


@dataclass
class Running:
    engine: Engine
    batcher: Batcher
    health: Health
    metrics: Metrics


@contextmanager
def running(painter: CountingPainter, buckets: Sequence[Bucket] = (ONE,)) -> Iterator[Running]:
    health, batcher, metrics = Health(buckets), Batcher(1000, 60), Metrics("CPU")

    def open_painter() -> CountingPainter:
        for bucket in buckets:
            health.bound(bucket, "Eager")
        health.loaded("0" * 16)
        return painter

    engine = Engine(open_painter, batcher, health, metrics, buckets)
    engine.start()
    try:
        assert engine.settled.wait(10)
        yield Running(engine, batcher, health, metrics)
    finally:
        batcher.stop()
        assert engine.join(10)


def test_every_bucket_runs_with_its_full_batch_before_it_is_ready() -> None:
    painter = CountingPainter()
    with running(painter, (ONE, FOUR)) as r:
        assert r.health.state is State.READY
        assert "encode warm-up [0, 1, 2, 3]" in painter.calls
        assert painter.calls.count("step 64x64b1 1") == painter.calls.count("step 64x64b4 4") == 4
        assert all(bucket["state"] == "Ready" for bucket in r.health.to_json()["buckets"])


def test_a_buckets_cost_is_its_fastest_step() -> None:
    delays = iter([0.08, 0.01, 0.05, 0.05])
    painter = CountingPainter(lambda: time.sleep(next(delays)))
    with running(painter) as r:
        assert 0.01 <= r.engine.costs[ONE].step < 0.05
        shown = r.health.to_json()["buckets"][0]["millisecondsPerStep"]
        assert shown == pytest.approx(r.engine.costs[ONE].step * 1000, abs=0.001)


def test_a_job_is_encoded_stepped_and_decoded() -> None:
    painter = CountingPainter()
    with running(painter) as r:
        outcome = r.batcher.submit(a_job(steps=2), 1).result.result(10)
        assert painter.after_warm_up() == ["encode x [0]", "step 64x64b1 1", "step 64x64b1 1", "decode 0"]
        assert outcome.evaluations == 2
        assert set(outcome.seconds) == {"queue", "encode", "denoise", "decode"}


def test_more_pictures_than_the_batch_take_several_turns_and_keep_their_order() -> None:
    painter = CountingPainter()
    with running(painter, (FOUR,)) as r:
        outcome = r.batcher.submit(a_job(n=6, steps=1, bucket=FOUR), 1).result.result(10)
        assert [call for call in painter.after_warm_up() if call.startswith(("encode", "step"))] == [
            "encode x [0, 1, 2, 3]",
            "step 64x64b4 4",
            "encode x [4, 5]",
            "step 64x64b4 2",
        ]
        assert [image.getpixel((0, 0))[0] for image in outcome.images] == [0, 1, 2, 3, 4, 5]
        assert outcome.evaluations == 6


def test_an_abandoned_job_stops_at_the_next_step() -> None:
    painter = CountingPainter()
    with running(painter) as r:
        ticket = None

        def abandon_at_the_second_step() -> None:
            if painter.after_warm_up().count("step 64x64b1 1") == 2 and ticket is not None:
                r.batcher.abandon(ticket)

        painter.on_step = lambda: time.sleep(0.005) or abandon_at_the_second_step()  # type: ignore[func-returns-value]
        ticket = r.batcher.submit(a_job(steps=1000), 1)
        with pytest.raises(Abandoned):
            ticket.result.result(10)
        assert r.batcher.submit(a_job("next", steps=1), 1).result.result(10).evaluations == 1
        steps = painter.after_warm_up()[: painter.after_warm_up().index("encode next [0]")]
        assert steps.count("step 64x64b1 1") <= 3
        assert "decode 0" not in steps


def test_one_failure_is_told_to_its_request_and_the_next_is_served() -> None:
    failures = iter([True])
    painter = CountingPainter()
    with running(painter) as r:

        def fail_once() -> None:
            if next(failures, False):
                raise RuntimeError("a kernel failed")

        painter.on_step = fail_once
        with pytest.raises(RuntimeError, match="a kernel failed"):
            r.batcher.submit(a_job(), 1).result.result(10)
        assert r.batcher.submit(a_job(), 1).result.result(10).evaluations == 3
        assert r.engine.alive


def test_three_failures_in_a_row_end_the_engine_and_everybody_learns_it() -> None:
    painter = CountingPainter()
    with running(painter) as r:

        def fail() -> None:
            raise RuntimeError("the device is lost")

        painter.on_step = fail
        tickets = [r.batcher.submit(a_job(), 1) for _ in range(5)]
        errors = [ticket.result.exception(10) for ticket in tickets]
        assert [type(error) for error in errors] == [RuntimeError] * 3 + [EngineStopped] * 2
        assert r.engine.join(10)
        assert r.health.state is State.FAILED
        assert "the device is lost" in r.health.to_json()["message"]


def test_a_painter_that_cannot_be_opened_is_the_engines_error() -> None:
    health, batcher = Health((ONE,)), Batcher(1000, 60)

    def fail() -> CountingPainter:
        raise FileNotFoundError("no model")

    engine = Engine(fail, batcher, health, Metrics("CPU"), (ONE,))
    engine.start()
    assert engine.settled.wait(10)
    assert engine.join(10)
    assert isinstance(engine.error, FileNotFoundError)
    assert health.state is State.FAILED
    assert batcher.take() is None


def test_executed_evaluations_are_counted_as_they_happen() -> None:
    with running(CountingPainter(), (FOUR,)) as r:
        r.batcher.submit(a_job(n=3, steps=5, bucket=FOUR), 1).result.result(10)
        assert b"sdxl_evaluations_executed_total 15.0" in r.metrics.render(0, 0, 0)
