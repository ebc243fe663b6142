"""The queue with a clock that only moves when told to; threads appear only where blocking is the subject."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sdxl_runtime.batcher import Batcher, Closed, QueueFull
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.jobs import Abandoned, Job, Ticket


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def batcher(clock: Clock) -> Batcher:
    return Batcher(limit_seconds=10, timeout_seconds=60, clock=clock)


def a_job(n: int = 1, steps: int = 10) -> Job:
    return Job("a red circle", None, Bucket(64, 64), n, 0, steps, 5.0, "Euler")


def taken(batcher: Batcher) -> Ticket:
    ticket = batcher.take()
    assert ticket is not None
    return ticket


def test_tickets_come_out_in_the_order_of_acceptance(batcher: Batcher) -> None:
    tickets = [batcher.submit(a_job(), 1) for _ in range(3)]
    assert [batcher.take() for _ in range(3)] == tickets


def test_a_ticket_remembers_when_it_was_accepted_when_it_began_and_when_its_time_ends(
    batcher: Batcher, clock: Clock
) -> None:
    batcher.submit(a_job(), 1)
    clock.now += 5
    ticket = taken(batcher)
    assert (ticket.accepted_at, ticket.started_at, ticket.deadline) == (100, 105, 160)


def test_what_waits_and_what_runs_count_as_load(batcher: Batcher) -> None:
    batcher.submit(a_job(), 2)
    batcher.submit(a_job(), 3)
    taken(batcher)
    load = batcher.load()
    assert (load.queued_seconds, load.in_flight, load.waiting, load.idle) == (5, 1, 1, False)


def test_work_that_is_done_no_longer_counts(batcher: Batcher) -> None:
    batcher.submit(a_job(n=2, steps=10), 8)
    ticket = taken(batcher)
    ticket.evaluations = 15
    assert batcher.load().queued_seconds == 2
    ticket.evaluations = 20
    assert batcher.load().queued_seconds == 0
    batcher.finish(ticket)
    assert batcher.load().idle


def test_more_than_the_limit_is_refused_with_the_seconds_until_there_is_room(batcher: Batcher) -> None:
    batcher.submit(a_job(), 6)
    batcher.submit(a_job(), 4)
    with pytest.raises(QueueFull) as refused:
        batcher.submit(a_job(), 2.5)
    assert refused.value.retry_after == 3


def test_exactly_the_limit_is_accepted(batcher: Batcher) -> None:
    batcher.submit(a_job(), 6)
    batcher.submit(a_job(), 4)
    assert batcher.load().waiting == 2


def test_an_idle_server_takes_a_job_longer_than_the_limit(batcher: Batcher) -> None:
    batcher.submit(a_job(), 1000)
    assert batcher.load().waiting == 1


def test_a_job_longer_than_the_limit_is_told_to_come_back_when_the_rest_is_done(batcher: Batcher) -> None:
    batcher.submit(a_job(), 4)
    with pytest.raises(QueueFull) as refused:
        batcher.submit(a_job(), 1000)
    assert refused.value.retry_after == 4


def test_retry_after_is_at_least_a_second(batcher: Batcher) -> None:
    batcher.submit(a_job(), 10)
    with pytest.raises(QueueFull) as refused:
        batcher.submit(a_job(), 0.01)
    assert refused.value.retry_after == 1


def test_an_abandoned_ticket_makes_room_at_once(batcher: Batcher) -> None:
    first, second = batcher.submit(a_job(), 5), batcher.submit(a_job(), 5)
    batcher.abandon(first)
    assert batcher.load().queued_seconds == 5
    batcher.submit(a_job(), 5)
    assert batcher.take() is second
    assert isinstance(first.result.exception(0), Abandoned)


def test_a_ticket_whose_time_ran_out_is_never_taken(batcher: Batcher, clock: Clock) -> None:
    late = batcher.submit(a_job(), 1)
    clock.now += 59
    fresh = batcher.submit(a_job(), 1)
    clock.now += 1
    assert batcher.take() is fresh
    assert isinstance(late.result.exception(0), Abandoned)


def test_a_running_ticket_learns_that_it_was_abandoned(batcher: Batcher, clock: Clock) -> None:
    batcher.submit(a_job(), 1)
    ticket = taken(batcher)
    assert not ticket.is_abandoned(clock.now)
    batcher.abandon(ticket)
    assert ticket.is_abandoned(clock.now)
    assert batcher.load().in_flight == 1, "the engine has not let go of it yet"


def test_a_closed_queue_takes_nothing_new_and_gives_out_what_it_has(batcher: Batcher) -> None:
    accepted = batcher.submit(a_job(), 1)
    batcher.close()
    with pytest.raises(Closed):
        batcher.submit(a_job(), 1)
    assert batcher.take() is accepted


def test_a_stopped_queue_tells_everybody_who_waits(batcher: Batcher) -> None:
    tickets = [batcher.submit(a_job(), 1) for _ in range(2)]
    taken(batcher)
    batcher.stop(RuntimeError("the device is gone"))
    assert [str(ticket.result.exception(0)) for ticket in tickets] == ["the device is gone"] * 2
    assert batcher.take() is None
    assert batcher.load().idle
    with pytest.raises(Closed):
        batcher.submit(a_job(), 1)


def test_stopping_does_not_overwrite_a_result(batcher: Batcher) -> None:
    ticket = batcher.submit(a_job(), 1)
    ticket.fail(ValueError("first"))
    batcher.stop(RuntimeError("second"))
    assert str(ticket.result.exception(0)) == "first"


@pytest.mark.parametrize("wake", ["submit", "stop"])
def test_an_engine_that_waits_wakes_up(batcher: Batcher, wake: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = threading.Event()
        result = pool.submit(lambda: (waiting.set(), batcher.take())[1])
        waiting.wait(5)
        if wake == "submit":
            assert batcher.submit(a_job(), 1) is result.result(5)
        else:
            batcher.stop()
            assert result.result(5) is None


def test_submitting_from_many_threads_loses_nothing(batcher: Batcher) -> None:
    with ThreadPoolExecutor(8) as pool:
        tickets = list(pool.map(lambda _: batcher.submit(a_job(), 0.001), range(200)))
    assert {id(taken(batcher)) for _ in range(200)} == {id(ticket) for ticket in tickets}
