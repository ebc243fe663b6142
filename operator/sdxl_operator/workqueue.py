"""The work queue: each key has one turn at a time, and whatever happens to it meanwhile is one more turn afterwards."""

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Keys that wait for a turn.

    A key waits, has its turn, or neither. Added while it waits, it is the same wait; added during its turn, it waits
    again afterwards. A key has at most one timer, the earliest; a turn that begins takes the timer away, since it
    decides anew. A key that fails waits `backoff` seconds, then twice that, up to `backoff_limit`; there is no jitter,
    as there is only one process. `rest` is the least time between two turns of one key: an echo of our own writes then
    becomes a slow drip and not a storm.
    """

    def __init__(self, *, rest: float = 0.0, backoff: float = 1.0, backoff_limit: float = 300.0) -> None:
        self._rest = rest
        self._backoff = backoff
        self._backoff_limit = backoff_limit
        self._line: asyncio.Queue[K | None] = asyncio.Queue()
        self._waiting: set[K] = set()
        self._busy: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._stopped = False

    def __len__(self) -> int:
        """How many keys wait for their turn; those with a timer do not count."""
        return len(self._waiting)

    def add(self, key: K) -> None:
        """Give the key a turn as soon as possible."""
        if self._stopped or key in self._waiting:
            return
        if key in self._busy:
            self._again.add(key)
            return
        self._waiting.add(key)
        self._line.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Give the key a turn in so many seconds, or earlier where that was promised before."""
        if self._stopped:
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is None or when < timer.when():
            self._drop_timer(key)
            self._timers[key] = loop.call_at(when, self._ring, key)

    def retry(self, key: K, at_least: float = 0.0) -> float:
        """Give the key a turn after its back-off; the seconds are returned."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # the exponent is bounded because a key that fails for weeks would overflow a float
        seconds = max(at_least, min(self._backoff * 2.0 ** min(failures, 32), self._backoff_limit))
        self.add_after(key, seconds)
        return seconds

    def succeeded(self, key: K) -> None:
        """Forget the key's failures: its next one waits `backoff` again."""
        self._failures.pop(key, None)

    async def take(self) -> K | None:
        """Wait for the next key and begin its turn, which `done` ends; None once the queue has stopped."""
        key = await self._line.get()
        if key is None or self._stopped:
            self._line.put_nowait(None)  # the other takers wait for it too
            return None
        self._waiting.discard(key)
        self._busy.add(key)
        self._drop_timer(key)
        return key

    def done(self, key: K) -> None:
        """End the turn that `take` began."""
        if self._rest and not self._stopped:
            asyncio.get_running_loop().call_later(self._rest, self._release, key)
        else:
            self._release(key)

    def stop(self) -> None:
        """Begin no turn any more; turns that have begun go on."""
        self._stopped = True
        for key in tuple(self._timers):
            self._drop_timer(key)
        self._line.put_nowait(None)

    def _release(self, key: K) -> None:
        self._busy.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _ring(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _drop_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
