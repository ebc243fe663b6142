"""The queue with a clock that only moves when told to; threads appear only where blocking is the subject."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sdxl_runtime.batcher import Batcher, Closed, QueueFull
from sdxl_runtime.buckets import Bucket, Cost
from sdxl_runtime.jobs import Abandoned, Event, Job, Step, Ticket

BUCKET = Bucket(64, 64)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def batcher(clock: Clock) -> Batcher:
    """One evaluation takes a second, so a job's steps are its seconds."""
    return Batcher(10, 60, {BUCKET: Cost(1.0, 0.0)}, clock)


def a_job(seconds: float = 1, n: int = 1) -> Job:
    return Job("a red circle", None, (BUCKET,), n, 0, int(seconds), 5.0, "Euler")


def collected(batcher: Batcher) -> list[Ticket]:
    tickets = batcher.collect(wait=False)
    assert tickets is not None
    return tickets


def begin(ticket: Ticket) -> None:
    """As the engine does when a ticket gets its place."""
    ticket.bucket = BUCKET


def test_tickets_come_out_once_in_the_order_of_acceptance(batcher: Batcher) -> None:
    tickets = [batcher.submit(a_job()) for _ in range(3)]
    assert collected(batcher) == tickets
    assert collected(batcher) == []


def test_a_ticket_remembers_when_it_was_accepted_and_when_its_time_ends(batcher: Batcher) -> None:
    ticket = batcher.submit(a_job())
    assert (ticket.accepted_at, ticket.deadline) == (100, 160)


def test_a_listener_is_there_from_the_first_event_on(batcher: Batcher) -> None:
    events: list[Event] = []
    batcher.submit(a_job(), events.append).tell(Step(1, 1))
    assert events == [Step(1, 1)]


def test_what_waits_and_what_runs_count_as_load(batcher: Batcher) -> None:
    begin(batcher.submit(a_job(2)))
    batcher.submit(a_job(3))
    load = batcher.load()
    assert (load.queued_seconds, load.in_flight, load.waiting, load.idle) == (5, 1, 1, False)


def test_work_that_is_done_no_longer_counts(batcher: Batcher) -> None:
    ticket = batcher.submit(a_job(4, n=2))
    begin(ticket)
    ticket.evaluations = 6
    assert batcher.load().queued_seconds == 2
    ticket.evaluations = 8
    assert batcher.load().queued_seconds == 0
    batcher.finish(ticket)
    assert batcher.load().idle


def test_more_than_the_limit_is_refused_with_the_seconds_until_there_is_room(batcher: Batcher) -> None:
    batcher.submit(a_job(6))
    batcher.submit(a_job(4))
    with pytest.raises(QueueFull) as refused:
        batcher.submit(a_job(3))
    assert refused.value.retry_after == 3


def test_exactly_the_limit_is_accepted(batcher: Batcher) -> None:
    batcher.submit(a_job(6))
    batcher.submit(a_job(4))
    assert batcher.load().waiting == 2


def test_an_idle_server_takes_a_job_longer_than_the_limit(batcher: Batcher) -> None:
    batcher.submit(a_job(1000))
    assert batcher.load().waiting == 1


def test_a_job_longer_than_the_limit_is_told_to_come_back_when_the_rest_is_done(batcher: Batcher) -> None:
    batcher.submit(a_job(4))
    with pytest.raises(QueueFull) as refused:
        batcher.submit(a_job(1000))
    assert refused.value.retry_after == 4


def test_retry_after_is_at_least_a_second(clock: Clock) -> None:
    batcher = Batcher(10, 60, {BUCKET: Cost(0.01, 0.0)}, clock)
    batcher.submit(a_job(1000))
    with pytest.raises(QueueFull) as refused:
        batcher.submit(a_job(1))
    assert refused.value.retry_after == 1


def test_an_abandoned_ticket_makes_room_at_once(batcher: Batcher) -> None:
    first, second = batcher.submit(a_job(5)), batcher.submit(a_job(5))
    batcher.abandon(first)
    assert batcher.load().queued_seconds == 5
    third = batcher.submit(a_job(5))
    assert collected(batcher) == [second, third]
    assert isinstance(first.result.exception(0), Abandoned)


def test_a_ticket_whose_time_ran_out_is_never_handed_over(batcher: Batcher, clock: Clock) -> None:
    late = batcher.submit(a_job())
    clock.now += 59
    fresh = batcher.submit(a_job())
    clock.now += 1
    assert collected(batcher) == [fresh]
    assert isinstance(late.result.exception(0), Abandoned)


def test_a_running_ticket_learns_that_it_was_abandoned(batcher: Batcher, clock: Clock) -> None:
    ticket = batcher.submit(a_job())
    begin(ticket)
    assert not ticket.is_abandoned(clock.now)
    batcher.abandon(ticket)
    assert ticket.is_abandoned(clock.now)
    assert batcher.load().in_flight == 1, "the engine has not let go of it yet"


def test_a_closed_queue_takes_nothing_new_and_gives_out_what_it_has(batcher: Batcher) -> None:
    accepted = batcher.submit(a_job())
    batcher.close()
    with pytest.raises(Closed):
        batcher.submit(a_job())
    assert collected(batcher) == [accepted]


def test_a_stopped_queue_tells_everybody_who_waits(batcher: Batcher) -> None:
    tickets = [batcher.submit(a_job()) for _ in range(2)]
    begin(tickets[0])
    batcher.stop(RuntimeError("the device is gone"))
    assert [str(ticket.result.exception(0)) for ticket in tickets] == ["the device is gone"] * 2
    assert batcher.collect(wait=True) is None
    assert batcher.load().idle
    with pytest.raises(Closed):
        batcher.submit(a_job())


def test_stopping_does_not_overwrite_a_result(batcher: Batcher) -> None:
    ticket = batcher.submit(a_job())
    ticket.fail(ValueError("first"))
    batcher.stop(RuntimeError("second"))
    assert str(ticket.result.exception(0)) == "first"


@pytest.mark.parametrize("wake", ["submit", "stop"])
def test_an_engine_that_waits_wakes_up(batcher: Batcher, wake: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = threading.Event()
        result = pool.submit(lambda: (waiting.set(), batcher.collect(wait=True))[1])
        waiting.wait(5)
        if wake == "submit":
            assert [batcher.submit(a_job())] == result.result(5)
        else:
            batcher.stop()
            assert result.result(5) is None


def test_submitting_from_many_threads_loses_nothing(clock: Clock) -> None:
    batcher = Batcher(1e9, 60, {BUCKET: Cost(1.0, 0.0)}, clock)
    with ThreadPoolExecutor(8) as pool:
        tickets = list(pool.map(lambda _: batcher.submit(a_job()), range(200)))
    assert set(collected(batcher)) == set(tickets)
