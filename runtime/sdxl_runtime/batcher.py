"""The queue between the API and the engine: bounded by seconds of work, cancels, deadlines, drain. No torch.

One ticket is taken at a time, in the order of acceptance.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from sdxl_runtime.jobs import Abandoned, Job, Ticket


class QueueFull(Exception):
    """As much work waits as is allowed; `retry_after` is in whole seconds, from 1."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


class Closed(Exception):
    """No new work is taken: the process drains or its engine has stopped."""


@dataclass(frozen=True, slots=True)
class Load:
    """What `/v1/load` tells."""

    queued_seconds: float
    """Work that is left, waiting and in flight."""
    in_flight: int
    waiting: int

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return self.in_flight == 0 and self.waiting == 0


class Batcher:
    """Tickets from acceptance to the engine. `limit_seconds` of work may wait; safe from any thread."""

    def __init__(
        self, limit_seconds: float, timeout_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.clock = clock
        self._limit = limit_seconds
        self._timeout = timeout_seconds
        self._changed = threading.Condition()
        self._waiting: deque[Ticket] = deque()
        self._running: list[Ticket] = []
        self._closed = False
        self._stopped: BaseException | None = None

    def submit(self, job: Job, expected_seconds: float) -> Ticket:
        """Accept a job; its time runs from now on. An idle server takes a job of any length.

        Raises:
            QueueFull: with this job, more than the limit would wait.
            Closed: after `close` or `stop`.
        """
        with self._changed:
            if self._closed:
                raise Closed
            self._sweep()
            work = self._work()
            if work > 0 and work + expected_seconds > self._limit:
                raise QueueFull(max(1, ceil(min(work, work + expected_seconds - self._limit))))
            now = self.clock()
            ticket = Ticket(job, expected_seconds, now, now + self._timeout)
            self._waiting.append(ticket)
            self._changed.notify_all()
            return ticket

    def take(self) -> Ticket | None:
        """The next ticket somebody still waits for; blocks until there is one. None after `stop`."""
        with self._changed:
            while True:
                if self._stopped is not None:
                    return None
                self._sweep()
                if self._waiting:
                    ticket = self._waiting.popleft()
                    ticket.started_at = self.clock()
                    self._running.append(ticket)
                    return ticket
                self._changed.wait()

    def finish(self, ticket: Ticket) -> None:
        """A ticket that was taken is done, in whatever way."""
        with self._changed:
            if ticket in self._running:
                self._running.remove(ticket)
            self._changed.notify_all()

    def abandon(self, ticket: Ticket) -> None:
        """Nobody waits for a ticket any more: it leaves the queue, or the engine at its next step."""
        ticket.abandon()
        with self._changed:
            self._sweep()
            self._changed.notify_all()

    def close(self) -> None:
        """Accept no new work; what was accepted goes on."""
        with self._changed:
            self._closed = True

    def stop(self, error: BaseException | None = None) -> None:
        """End `take`, and with it the engine; whoever still waits gets the error."""
        with self._changed:
            self._closed = True
            self._stopped = error or Closed()
            for ticket in (*self._waiting, *self._running):
                ticket.fail(self._stopped)
            self._waiting.clear()
            self._running.clear()
            self._changed.notify_all()

    def load(self) -> Load:
        """The work that is left."""
        with self._changed:
            self._sweep()
            return Load(self._work(), len(self._running), len(self._waiting))

    def _work(self) -> float:
        return sum(ticket.remaining_seconds for ticket in (*self._waiting, *self._running))

    def _sweep(self) -> None:
        """Drop the waiting tickets that nobody waits for."""
        now = self.clock()
        for ticket in [ticket for ticket in self._waiting if ticket.is_abandoned(now)]:
            self._waiting.remove(ticket)
            ticket.fail(Abandoned())
