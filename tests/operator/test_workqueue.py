"""The work queue, in fake time: nothing here waits for a clock."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sdxl_operator.workqueue import WorkQueue


class FakeTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__(_Jumping(self))
        self.now = 0.0

    def time(self) -> float:
        return self.now


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop: FakeTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout:
            self._loop.now += timeout
        return super().select(0)


Scenario = Callable[[], Coroutine[Any, Any, None]]


def in_fake_time(scenario: Scenario) -> Callable[[], None]:
    def test() -> None:
        with asyncio.Runner(loop_factory=FakeTimeLoop) as runner:
            runner.run(asyncio.wait_for(scenario(), 100_000))

    test.__doc__ = scenario.__doc__
    return test


def now() -> float:
    return asyncio.get_running_loop().time()


async def turn(queue: WorkQueue[str]) -> tuple[str | None, float]:
    """Wait for a key, end its turn at once, and tell when it began."""
    key = await queue.take()
    if key is not None:
        queue.done(key)
    return key, now()


@in_fake_time
async def test_keys_have_their_turns_in_the_order_they_came() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "cab":
        queue.add(key)
    assert len(queue) == 3
    assert [(await turn(queue))[0] for _ in range(3)] == ["c", "a", "b"]
    assert len(queue) == 0


@in_fake_time
async def test_a_key_added_many_times_while_it_waits_has_one_turn() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "aaba":
        queue.add(key)
    assert [(await turn(queue))[0] for _ in range(2)] == ["a", "b"]
    assert len(queue) == 0


@in_fake_time
async def test_a_key_added_during_its_turn_has_one_more_afterwards_and_never_two_at_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await queue.take() == "a"
    queue.add("a")
    queue.add("a")
    queue.add("b")
    assert await queue.take() == "b"
    assert len(queue) == 0
    queue.done("a")
    assert await turn(queue) == ("a", 0)
    assert len(queue) == 0


@in_fake_time
async def test_a_delayed_key_comes_when_it_is_time() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("late", 30)
    queue.add_after("soon", 5)
    assert await turn(queue) == ("soon", 5)
    assert await turn(queue) == ("late", 30)


@in_fake_time
async def test_the_earliest_of_several_delays_wins() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for seconds in (30, 10, 20):
        queue.add_after("a", seconds)
    assert await turn(queue) == ("a", 10)
    queue.add_after("end", 100)
    assert await turn(queue) == ("end", 110)


@in_fake_time
async def test_a_turn_takes_the_timer_away_since_it_decides_anew() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 30)
    queue.add("a")
    assert await turn(queue) == ("a", 0)
    queue.add_after("end", 100)
    assert await turn(queue) == ("end", 100)


@in_fake_time
async def test_a_delay_set_during_the_turn_is_kept() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.take()
    queue.add_after("a", 7)
    queue.done("a")
    assert await turn(queue) == ("a", 7)


@in_fake_time
async def test_a_failing_key_waits_twice_as_long_each_time_up_to_the_limit() -> None:
    queue: WorkQueue[str] = WorkQueue(backoff=1, backoff_limit=10)
    assert [queue.retry("a") for _ in range(6)] == [1, 2, 4, 8, 10, 10]


@in_fake_time
async def test_success_makes_the_next_failure_a_first_one() -> None:
    queue: WorkQueue[str] = WorkQueue(backoff=1)
    queue.retry("a")
    queue.retry("a")
    queue.succeeded("a")
    assert queue.retry("a") == 1


@in_fake_time
async def test_a_key_that_failed_for_weeks_still_has_a_finite_wait() -> None:
    queue: WorkQueue[str] = WorkQueue(backoff=1, backoff_limit=300)
    assert {queue.retry("a") for _ in range(5000)} >= {300}


@in_fake_time
async def test_a_retry_waits_as_long_as_the_server_asked_for() -> None:
    queue: WorkQueue[str] = WorkQueue(backoff=1, backoff_limit=10)
    assert queue.retry("a", at_least=60) == 60


@in_fake_time
async def test_an_event_does_not_wait_for_the_back_off() -> None:
    queue: WorkQueue[str] = WorkQueue(backoff=100)
    queue.retry("a")
    queue.add("a")
    assert await turn(queue) == ("a", 0)


@in_fake_time
async def test_two_turns_of_one_key_are_a_rest_apart_and_other_keys_do_not_wait() -> None:
    queue: WorkQueue[str] = WorkQueue(rest=1)
    queue.add("a")
    assert await turn(queue) == ("a", 0)
    queue.add("a")
    queue.add("b")
    assert await turn(queue) == ("b", 0)
    assert await turn(queue) == ("a", 1)


@in_fake_time
async def test_a_stopped_queue_begins_no_turn_and_lets_every_taker_go() -> None:
    queue: WorkQueue[str] = WorkQueue()
    takers = [asyncio.create_task(queue.take()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.add("a")
    queue.add_after("b", 1)
    queue.stop()
    queue.add("c")
    queue.add_after("d", 1)
    await asyncio.sleep(10)
    assert [await taker for taker in takers] == [None] * 3


@in_fake_time
async def test_the_end_of_a_turn_after_the_stop_is_no_error() -> None:
    queue: WorkQueue[str] = WorkQueue(rest=1)
    queue.add("a")
    await queue.take()
    queue.add("a")
    queue.stop()
    queue.done("a")
    assert await queue.take() is None


@in_fake_time
async def test_many_workers_never_hold_the_same_key_and_lose_none() -> None:
    queue: WorkQueue[int] = WorkQueue(rest=0.1)
    held: set[int] = set()
    turns: dict[int, int] = {}

    async def work() -> None:
        while (key := await queue.take()) is not None:
            assert key not in held
            held.add(key)
            await asyncio.sleep(0.3)
            held.discard(key)
            turns[key] = turns.get(key, 0) + 1
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(4)]
    for _ in range(5):
        for key in range(10):
            queue.add(key)
        await asyncio.sleep(0.25)
    await asyncio.sleep(60)
    queue.stop()
    await asyncio.gather(*workers)
    assert turns.keys() == set(range(10))
    assert all(2 <= count <= 5 for count in turns.values()), turns


def test_a_queue_is_made_outside_a_loop() -> None:
    assert len(WorkQueue[str]()) == 0


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_delay_of_nothing_is_now(seconds: float) -> None:
    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add_after("a", seconds)
        assert (await turn(queue))[0] == "a"

    in_fake_time(scenario)()
