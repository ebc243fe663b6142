"""Turn by turn: who shares an evaluation, who joins and leaves, what ends a ticket. No torch."""

import threading
import time
from concurrent.futures import Future
from itertools import pairwise
from typing import Any

import pytest

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.jobs import Abandoned, Event, Job, Partial, Step, Ticket
from tests.runtime.counting import FOUR, ONE, CountingPainter, Running, a_job, running

OTHER = Bucket(96, 96)


class Gate:
    """Holds the engine's thread at a step, so that a test can say what happens before the next."""

    def __init__(self) -> None:
        self._entered = threading.Semaphore(0)
        self._go = threading.Semaphore(0)
        self.closed = False

    def __call__(self) -> None:
        if self.closed:
            self._entered.release()
            assert self._go.acquire(timeout=10)

    def reached(self) -> None:
        """Wait until the thread is at a step."""
        assert self._entered.acquire(timeout=10)

    def let(self, steps: int = 1) -> None:
        """Let it take some steps; it is at the next one afterwards."""
        for _ in range(steps):
            self._go.release()
            self.reached()

    def open(self) -> None:
        """Let it go."""
        self.closed = False
        self._go.release()


def held(r: Running, painter: CountingPainter, job: Job) -> tuple[Gate, Ticket]:
    """A first job that is held at its first step."""
    gate = Gate()
    gate.closed = True
    painter.on_step = gate
    ticket = r.batcher.submit(job)
    gate.reached()
    return gate, ticket


def outcome(ticket: Ticket) -> Any:
    return ticket.result.result(10)


def test_a_job_is_encoded_stepped_and_decoded() -> None:
    painter = CountingPainter()
    with running(painter) as r:
        result = outcome(r.batcher.submit(a_job(steps=2)))
        assert painter.served() == ["encode x [0]", "step 64x64b1 x0", "step 64x64b1 x0", "decode x0"]
        assert (result.evaluations, result.bucket) == (2, ONE)
        assert set(result.seconds) == {"queue", "encode", "denoise", "decode"}


def test_a_request_joins_those_that_are_on_their_way_and_leaves_them_when_it_is_done() -> None:
    painter = CountingPainter()
    with running(painter, (FOUR,)) as r:
        gate, first = held(r, painter, a_job("a", steps=5, buckets=(FOUR,)))
        gate.let()
        second = r.batcher.submit(a_job("b", steps=2, buckets=(FOUR,)))
        gate.open()
        assert (outcome(first).evaluations, outcome(second).evaluations) == (5, 2)
        assert painter.steps() == [
            "step 64x64b4 a0",
            "step 64x64b4 a0",
            "step 64x64b4 a0 b0",
            "step 64x64b4 a0 b0",
            "step 64x64b4 a0",
        ]


def test_more_pictures_than_the_batch_take_turns_and_keep_their_order() -> None:
    painter = CountingPainter()
    with running(painter, (FOUR,)) as r:
        result = outcome(r.batcher.submit(a_job(n=6, steps=1, buckets=(FOUR,))))
        assert painter.steps() == ["step 64x64b4 x0 x1 x2 x3", "step 64x64b4 x4 x5"]
        assert [image.getpixel((0, 0))[0] for image in result.images] == [0, 1, 2, 3, 4, 5]
        assert result.evaluations == 6


def test_pictures_that_are_done_are_decoded_while_others_go_on() -> None:
    painter = CountingPainter()
    with running(painter, (FOUR,)) as r:
        gate, long = held(r, painter, a_job("long", steps=9, buckets=(FOUR,)))
        short = r.batcher.submit(a_job("short", steps=1, buckets=(FOUR,)))
        gate.open()
        assert outcome(short).evaluations == 1
        outcome(long)
        calls = painter.served()
        assert calls.index("decode short0") < calls.index("decode long0")
        assert calls[calls.index("decode short0") + 1] == "step 64x64b4 long0"


def test_under_a_lasting_load_rows_are_filled_before_pictures_are_decoded_and_one_is_decoded_each_turn() -> None:
    painter = CountingPainter()
    with running(painter, (FOUR,)) as r:
        gate, _ = held(r, painter, a_job("a", n=3, steps=1, buckets=(FOUR,)))
        r.engine.costs[FOUR] = r.engine.costs[FOUR].__class__(0.0, 0.0)  # no stage is free
        tickets = [r.batcher.submit(a_job(name, n=2, steps=1, buckets=(FOUR,))) for name in "bc"]
        gate.open()
        for ticket in tickets:
            outcome(ticket)
        calls = [call for call in painter.served() if not call.startswith("encode a")]
        assert calls[:7] == [
            "step 64x64b4 a0 a1 a2",
            "encode b [0, 1]",
            "decode a0",
            "step 64x64b4 b0 b1",
            "encode c [0, 1]",
            "decode a1",
            "step 64x64b4 c0 c1",
        ]


def test_a_lone_request_runs_in_the_smallest_batch_and_a_crowd_in_the_large_one() -> None:
    painter = CountingPainter()
    with running(painter, (ONE, FOUR)) as r:
        r.engine.costs[ONE] = r.engine.costs[ONE].__class__(1.0, 0.0)
        r.engine.costs[FOUR] = r.engine.costs[FOUR].__class__(1.9, 0.0)
        gate, alone = held(r, painter, a_job("a", steps=2, buckets=(ONE, FOUR)))
        crowd = [r.batcher.submit(a_job(name, steps=2, buckets=(ONE, FOUR))) for name in "bcd"]
        gate.open()
        assert outcome(alone).bucket == ONE
        assert {outcome(ticket).bucket for ticket in crowd} == {FOUR}
        assert "step 64x64b4 b0 c0 d0" in painter.steps()


def test_buckets_of_different_sizes_alternate() -> None:
    painter = CountingPainter(lambda: time.sleep(0.002))
    with running(painter, (ONE, OTHER)) as r:
        tickets = [r.batcher.submit(a_job(name, steps=8, buckets=(b,))) for name, b in (("a", ONE), ("b", OTHER))]
        for ticket in tickets:
            outcome(ticket)
        order = [call.split()[1] for call in painter.steps()]
        assert sum(before != after for before, after in pairwise(order)) >= 6


def test_an_abandoned_job_frees_its_row_at_the_next_step() -> None:
    painter = CountingPainter()
    with running(painter, (FOUR,)) as r:
        gate, other = held(r, painter, a_job("other", steps=4, buckets=(FOUR,)))
        gone = r.batcher.submit(a_job("gone", steps=100, buckets=(FOUR,)))
        gate.let(2)
        r.batcher.abandon(gone)
        gate.open()
        outcome(other)
        with pytest.raises(Abandoned):
            outcome(gone)
        assert painter.steps() == [
            "step 64x64b4 other0",
            "step 64x64b4 other0 gone0",
            "step 64x64b4 other0 gone0",
            "step 64x64b4 other0",
        ]
        assert r.batcher.load().idle


def test_a_job_that_is_abandoned_before_its_turn_costs_nothing() -> None:
    painter = CountingPainter()
    with running(painter) as r:
        gate, first = held(r, painter, a_job("a", steps=2))
        waiting = r.batcher.submit(a_job("b"))
        r.batcher.abandon(waiting)
        gate.open()
        outcome(first)
        assert not any("b" in call.split()[1] for call in painter.served() if call.startswith("encode"))


def test_one_failure_is_told_to_those_who_shared_it_and_the_next_is_served() -> None:
    painter = CountingPainter()
    with running(painter, (ONE, FOUR)) as r:
        gate, first = held(r, painter, a_job("a", buckets=(FOUR,)))
        second = r.batcher.submit(a_job("b", buckets=(FOUR,)))
        gate.let()

        def fail() -> None:
            painter.on_step = lambda: None
            raise RuntimeError("a kernel failed")

        painter.on_step = fail
        gate.open()
        for ticket in (first, second):
            with pytest.raises(RuntimeError, match="a kernel failed"):
                outcome(ticket)
        assert outcome(r.batcher.submit(a_job())).evaluations == 3
        assert r.engine.alive
        assert r.batcher.load().idle


def test_a_preview_that_fails_ends_only_its_own_request() -> None:
    painter = CountingPainter()

    def no_preview(row: Any) -> Any:
        raise RuntimeError("no preview")

    with running(painter, (FOUR,)) as r:
        painter.preview = no_preview  # type: ignore[method-assign]
        gate, plain = held(r, painter, a_job("a", buckets=(FOUR,)))
        streamed = r.batcher.submit(a_job("b", buckets=(FOUR,), partial_images=1))
        gate.open()
        assert outcome(plain).evaluations == 3
        with pytest.raises(RuntimeError, match="no preview"):
            outcome(streamed)


def test_previews_come_right_after_the_steps_that_divide_the_way_evenly() -> None:
    painter, events = CountingPainter(), list[Event]()
    with running(painter) as r:
        outcome(r.batcher.submit(a_job(steps=8, partial_images=3), events.append))
        shown = [event.index for event in events if isinstance(event, Partial)]
        calls = [call.split()[0] for call in painter.served()]
        assert shown == [0, 1, 2]
        assert [calls[: i + 1].count("step") for i, call in enumerate(calls) if call == "preview"] == [2, 4, 6]


def test_a_job_of_few_steps_gets_fewer_previews() -> None:
    painter, events = CountingPainter(), list[Event]()
    with running(painter) as r:
        outcome(r.batcher.submit(a_job(steps=2, partial_images=3), events.append))
        assert len([event for event in events if isinstance(event, Partial)]) == 1


def test_every_step_is_told() -> None:
    painter, events = CountingPainter(), list[Event]()
    with running(painter, (FOUR,)) as r:
        outcome(r.batcher.submit(a_job(n=2, steps=2, buckets=(FOUR,)), events.append))
        assert events == [Step(1, 4), Step(2, 4), Step(3, 4), Step(4, 4)]


def test_the_refiner_takes_the_last_steps_in_turns_of_its_own() -> None:
    painter = CountingPainter(refines=True)
    with running(painter, (FOUR,)) as r:
        gate, refined = held(r, painter, a_job("a", steps=3, buckets=(FOUR,), refine=True))
        plain = r.batcher.submit(a_job("b", steps=3, buckets=(FOUR,)))
        gate.open()
        assert outcome(refined).evaluations == outcome(plain).evaluations == 3
        assert painter.steps().count("refine 64x64b4 a0") == 1
        assert not any("a0 b0" in call for call in painter.steps() if call.startswith("refine"))


def test_turns_are_grouped_by_adapter_and_merging_happens_between_them() -> None:
    painter = CountingPainter()
    with running(painter, (FOUR,)) as r:
        gate, plain = held(r, painter, a_job("a", steps=4, buckets=(FOUR,)))
        pixel = [r.batcher.submit(a_job(name, steps=4, buckets=(FOUR,), adapters=("pixel",))) for name in "bc"]
        gate.open()
        for ticket in (plain, *pixel):
            outcome(ticket)
        merged = "none"
        for call in painter.served():
            kind, *rest = call.split()
            if kind == "use":
                merged = rest[0]
            if kind == "step":
                assert merged == ("none" if "a0" in rest else "pixel"), call
                assert not ("a0" in rest and {"b0", "c0"} & set(rest)), call
        assert "step 64x64b4 b0 c0" in painter.steps()


@pytest.mark.parametrize(("adapter", "in_use"), [("pixel", "use pixel"), ("outline", "use none")])
def test_encoding_takes_out_only_adapters_that_change_a_text_encoder(adapter: str, in_use: str) -> None:
    """`outline` does. A request without adapters comes while one with an adapter is at work."""
    painter = CountingPainter()
    with running(painter) as r:
        gate, first = held(r, painter, a_job("a", adapters=(adapter,)))
        gate.let()
        other = r.batcher.submit(a_job("b", steps=1))
        gate.open()
        outcome(first)
        outcome(other)
        before = painter.served()[: painter.served().index("encode b [0]")]
        assert [call for call in before if call.startswith("use")][-1] == in_use


def test_the_evaluations_and_the_rows_they_used_are_counted() -> None:
    with running(CountingPainter(), (FOUR,)) as r:
        outcome(r.batcher.submit(a_job(n=3, steps=5, buckets=(FOUR,))))
        text = r.metrics.render(0, 0, 0)
        assert b"sdxl_evaluations_executed_total 15.0" in text
        assert b'sdxl_rows_used_total{bucket="64x64b4"} 15.0' in text
        assert b'sdxl_rows_total{bucket="64x64b4"} 20.0' in text


def test_whatever_happens_nothing_is_left_behind() -> None:
    painter = CountingPainter(lambda: time.sleep(0.0005))
    with running(painter, (ONE, FOUR, OTHER)) as r:
        tickets = []
        for i in range(60):
            buckets = ((ONE, FOUR), (FOUR,), (OTHER,))[i % 3]
            adapters = () if i % 4 else ("pixel",)
            tickets.append(r.batcher.submit(a_job(f"j{i}", 1 + i % 5, 1 + i % 7, buckets, adapters)))
            if i % 6 == 5:
                r.batcher.abandon(tickets[i // 2])
        ends: list[Future[Any]] = [ticket.result for ticket in tickets]
        for ticket, end in zip(tickets, ends, strict=True):
            error = end.exception(20)
            assert error is None or isinstance(error, Abandoned)
            assert error is not None or end.result().evaluations == ticket.job.evaluations
        assert r.batcher.load().idle
