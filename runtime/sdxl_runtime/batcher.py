"""The queue between the API and the engine: bounded by seconds of work, cancels, deadlines, drain. No torch.

It accepts, and hands over what it accepted; in which order and with whom a ticket runs is the engine's
(`placement`, `lanes`).
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from sdxl_runtime import work
from sdxl_runtime.buckets import Bucket, Cost
from sdxl_runtime.jobs import Abandoned, Event, Job, Ticket


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
    """Work that is left, waiting and in flight, at the pace of the last minutes."""
    in_flight: int
    waiting: int

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return self.in_flight == 0 and self.waiting == 0


class Batcher:
    """Tickets from acceptance to the engine. `limit_seconds` of work may wait; safe from any thread.

    `costs` is what the engine measures at warm-up; nothing may be submitted before they are there.
    """

    def __init__(
        self,
        limit_seconds: float,
        timeout_seconds: float,
        costs: Mapping[Bucket, Cost],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self._limit = limit_seconds
        self._timeout = timeout_seconds
        self._costs = costs
        self._pace = work.Pace()
        self._changed = threading.Condition()
        self._accepted: list[Ticket] = []
        self._new: list[Ticket] = []
        self._closed = False
        self._woken = False
        self._stopped: BaseException | None = None

    def submit(self, job: Job, listener: Callable[[Event], None] | None = None) -> Ticket:
        """Accept a job; its time runs from now on. An idle server takes a job of any length.

        `listener` is called with every event, in the engine's thread: it must return at once.

        Raises:
            QueueFull: with this job, more than the limit would wait.
            Closed: after `close` or `stop`.
        """
        with self._changed:
            if self._closed:
                raise Closed
            self._sweep()
            expected, left = self._pace.seconds(work.seconds_of(job, self._accepted, self._costs)), self._work()
            if left > 0 and left + expected > self._limit:
                raise QueueFull(max(1, ceil(min(left, left + expected - self._limit))))
            now = self.clock()
            ticket = Ticket(job, now, now + self._timeout)
            if listener is not None:
                ticket.listen(listener)
            self._accepted.append(ticket)
            self._new.append(ticket)
            self._changed.notify_all()
            return ticket

    def collect(self, wait: bool) -> list[Ticket] | None:
        """What was accepted since the last call; with `wait`, blocks until there is some, or `wake`.

        None after `stop`.
        """
        with self._changed:
            while True:
                if self._stopped is not None:
                    return None
                self._sweep()
                if self._new or self._woken or not wait:
                    new, self._new, self._woken = self._new, [], False
                    return new
                self._changed.wait()

    def wake(self) -> None:
        """End a `collect` that waits, with nothing."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def worked(self, stepped: Sequence[Ticket], seconds: float) -> None:
        """A turn of the engine took so long; `stepped` has the ticket of each picture that it advanced."""
        with self._changed:
            self._pace.learn(work.seconds_done(stepped, self._accepted, self._costs), seconds)

    def finish(self, ticket: Ticket) -> None:
        """The engine is done with a ticket, in whatever way."""
        with self._changed:
            if ticket in self._accepted:
                self._accepted.remove(ticket)
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
        """End `collect`, and with it the engine; whoever still waits gets the error."""
        with self._changed:
            self._closed = True
            self._stopped = error or Closed()
            for ticket in self._accepted:
                ticket.fail(self._stopped)
            self._accepted.clear()
            self._new.clear()
            self._changed.notify_all()

    def load(self) -> Load:
        """The work that is left."""
        with self._changed:
            self._sweep()
            running = sum(ticket.bucket is not None for ticket in self._accepted)
            return Load(self._work(), running, len(self._accepted) - running)

    def _work(self) -> float:
        return self._pace.seconds(work.seconds_left(self._accepted, self._costs))

    def _sweep(self) -> None:
        """Let go of the tickets that nobody waits for and that have no place on the device yet."""
        now = self.clock()
        gone = [ticket for ticket in self._accepted if ticket.bucket is None and ticket.is_abandoned(now)]
        for ticket in gone:
            self._accepted.remove(ticket)
            ticket.fail(Abandoned())
        if gone:
            self._new = [ticket for ticket in self._new if ticket not in gone]
