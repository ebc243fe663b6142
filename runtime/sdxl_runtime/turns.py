"""What the device does, turn by turn: place who waits, encode or decode, then one UNet evaluation of one lane.

Rows join and leave between evaluations. Whatever ends a ticket (done, abandoned, failed) frees its rows at once.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from sdxl_runtime.buckets import Bucket, Cost
from sdxl_runtime.jobs import Abandoned, Adapter, Job, Outcome, Partial, Step, Ticket
from sdxl_runtime.lanes import Lane, LaneKey, Lanes, Picture
from sdxl_runtime.metrics import Metrics
from sdxl_runtime.painter import Painter
from sdxl_runtime.placement import Option, Wish, choose
from sdxl_runtime.runs import Lap, Run, due

FAILURES_IN_A_ROW = 3
"""A device that fails this often without an evaluation in between is broken, not unlucky: the engine ends and the
kubelet restarts the pod."""
STAGE_SHARE = 0.25
"""Of an evaluation's time: so much encoding and decoding may come between two; one of each always may."""

log = logging.getLogger(__name__)


class Source(Protocol):
    """Where the tickets come from; `batcher.Batcher` is one."""

    clock: Callable[[], float]

    def collect(self, wait: bool) -> list[Ticket] | None:
        """What was accepted since the last call; None ends the engine."""

    def wake(self) -> None:
        """End a `collect` that waits."""

    def worked(self, stepped: Sequence[Ticket], seconds: float) -> None:
        """A turn took so long, and advanced a picture of each of these tickets."""

    def finish(self, ticket: Ticket) -> None:
        """A ticket is done."""

    def stop(self, error: BaseException | None = None) -> None:
        """There is no engine any more."""


class Upkeep(Protocol):
    """What has to be done to the painter while nothing runs."""

    @property
    def pending(self) -> bool:
        """Whether there is something to do: nothing new is placed until it was done."""

    def do(self) -> None:
        """Do it."""


class Turns:
    """Serves one painter from one source. `costs` is complete: every bucket was measured."""

    def __init__(
        self,
        painter: Painter,
        source: Source,
        metrics: Metrics,
        costs: Mapping[Bucket, Cost],
        upkeep: Upkeep | None = None,
    ) -> None:
        self._upkeep = upkeep
        self._painter = painter
        self._source = source
        self._clock = source.clock
        self._metrics = metrics
        self._costs = costs
        self._waiting: list[Ticket] = []
        self._runs: dict[Ticket, Run] = {}
        self._lanes = Lanes()
        self._to_encode: deque[Run] = deque()
        self._to_decode: deque[Picture] = deque()
        self._in_use: tuple[Adapter, ...] = ()
        self._switch_seconds = 0.0
        self._failures = 0

    def serve(self) -> None:
        """Until the source stops.

        Raises:
            Exception: what the device failed with, when it failed several times in a row.
        """
        while (new := self._source.collect(wait=not self._runs and not self._waiting)) is not None:
            self._waiting += new
            self._let_go()
            if self._upkeep is None or not self._upkeep.pending:
                self._place()
            elif not self._runs:
                self._use(())
                self._upkeep.do()
                self._place()
            began = self._clock()
            self._run_stages()
            stepped = self._step()
            self._source.worked(stepped, self._clock() - began)

    def _let_go(self) -> None:
        """Free the rows of tickets that nobody waits for."""
        now = self._clock()
        self._waiting = [ticket for ticket in self._waiting if not ticket.is_abandoned(now)]
        for ticket in [ticket for ticket in self._runs if ticket.is_abandoned(now)]:
            self._end(ticket)
            ticket.fail(Abandoned())

    def _place(self) -> None:
        """Pin waiting tickets to lanes; those that differ in size or adapters do not wait for each other."""
        alike: dict[tuple[tuple[Bucket, ...], tuple[Adapter, ...]], list[Ticket]] = {}
        for ticket in self._waiting:
            alike.setdefault((ticket.job.buckets, ticket.job.adapters), []).append(ticket)
        for tickets in alike.values():
            while tickets:
                wishes = [Wish(ticket.job.n, ticket.job.steps_taken) for ticket in tickets]
                choice = choose(wishes, self._options(tickets[0].job), idle=not self._runs)
                if choice is None:
                    break
                for ticket in tickets[: choice.count]:
                    self._begin(ticket, choice.bucket)
                del tickets[: choice.count]
        self._waiting = [ticket for ticket in self._waiting if ticket not in self._runs]

    def _options(self, job: Job) -> list[Option]:
        options = []
        for bucket in job.buckets:
            lane = self._lanes.get(LaneKey(bucket, job.adapters))
            seconds = self._costs[bucket].step
            if lane is None:
                options.append(Option(bucket, seconds, bucket.batch))
            else:
                options.append(Option(bucket, seconds, lane.free, lane.remaining, lane.until_free))
        return options

    def _begin(self, ticket: Ticket, bucket: Bucket) -> None:
        now = self._clock()
        ticket.bucket, ticket.started_at = bucket, now
        key = LaneKey(bucket, ticket.job.adapters)
        waited = now - ticket.accepted_at
        run = self._runs[ticket] = Run(ticket, key, {"queue": waited, "encode": 0.0, "denoise": 0.0, "decode": 0.0})
        run.pictures = [Picture(ticket, index) for index in range(ticket.job.n)]
        for picture in run.pictures:
            self._lanes.join(key, picture)
        self._to_encode.append(run)

    def _run_stages(self) -> None:
        """Encode what came and decode what is done, as long as the lanes do not wait too long for it.

        Encoding is first: until then a row stands idle through whole evaluations. Under a lasting load there is always
        something to encode, so one picture is decoded in any case.
        """
        began = self._clock()
        if self._to_encode:
            self._encode(self._to_encode.popleft())
        if self._to_decode:
            self._decode(self._to_decode.popleft())
        while (self._to_encode or self._to_decode) and not self._lanes_wait(self._clock() - began):
            if self._to_encode:
                self._encode(self._to_encode.popleft())
            else:
                self._decode(self._to_decode.popleft())

    def _lanes_wait(self, seconds: float) -> bool:
        """Whether stages of so many seconds are as much as may come between two evaluations."""
        lane = self._next_lane()
        return lane is not None and seconds >= STAGE_SHARE * self._costs[lane.key.bucket].step

    def _encode(self, run: Run) -> None:
        job = run.ticket.job
        with _Attempt(self, [run]), Lap(self._clock, run.seconds, "encode"):
            text = self._painter.text_adapters
            if text(run.key.adapters) != text(self._in_use):
                self._use(run.key.adapters)
            rows = self._painter.encode(job, run.key.bucket, range(job.n))
            for picture, row in zip(run.pictures, rows, strict=True):
                picture.row = row
                self._cross(run.key, picture)

    def _decode(self, picture: Picture) -> None:
        run = self._runs[picture.ticket]
        with _Attempt(self, [run]), Lap(self._clock, run.seconds, "decode"):
            run.images[picture.index] = self._painter.decode(picture.row)
        job = run.ticket.job
        if len(run.images) == job.n and picture.ticket in self._runs:
            self._end(picture.ticket)
            images = tuple(run.images[index] for index in range(job.n))
            picture.ticket.complete(Outcome(images, run.key.bucket, picture.ticket.evaluations, run.seconds))

    def _step(self) -> list[Ticket]:
        """One evaluation of the lane whose turn it is; the ticket of each picture that it advanced."""
        lane = self._next_lane()
        if lane is None:
            return []
        pictures, key = lane.rows(), lane.key
        runs = [self._runs[ticket] for ticket in dict.fromkeys(picture.ticket for picture in pictures)]
        self._lanes.took(lane, len(pictures), self._costs[key.bucket].step)
        with _Attempt(self, runs):
            if not key.refiner:
                self._use(key.adapters)
            began = self._clock()
            self._painter.step(key.bucket, [picture.row for picture in pictures])
            ended = self._clock()
            self._failures = 0
            self._metrics.evaluated(key.bucket.key, len(pictures), key.bucket.batch, ended - began)
            for run in runs:
                run.began = began if run.began is None else run.began
                run.seconds["denoise"] = ended - run.began
        advanced = [picture for picture in pictures if picture.ticket in self._runs]
        for picture in advanced:
            with _Attempt(self, [self._runs[picture.ticket]]):
                self._advance(lane, picture)
        return [picture.ticket for picture in advanced]

    def _advance(self, lane: Lane, picture: Picture) -> None:
        """What follows a picture's step: its end, the refiner, or a preview."""
        ticket, job = picture.ticket, picture.ticket.job
        picture.steps_done += 1
        ticket.evaluations += 1
        if picture.row.done:
            self._lanes.leave(lane.key, picture)
            self._to_decode.append(picture)
        else:
            self._cross(lane.key, picture)
            if picture.steps_done >= due(job, picture.partials):
                self._preview(picture)
        ticket.tell(Step(ticket.evaluations, job.evaluations))

    def _cross(self, key: LaneKey, picture: Picture) -> None:
        """Move a picture whose next step is the refiner's to the refiner's lane."""
        if picture.row.refining and not key.refiner:
            self._lanes.leave(key, picture)
            self._lanes.join(LaneKey(key.bucket, refiner=True), picture)

    def _preview(self, picture: Picture) -> None:
        began = self._clock()
        image = self._painter.preview(picture.row)
        self._metrics.previewed(self._clock() - began)
        picture.ticket.tell(Partial(picture.index, picture.partials, image))
        picture.partials += 1

    def _next_lane(self) -> Lane | None:
        return self._lanes.next(self._switching)

    def _switching(self, key: LaneKey) -> float:
        return self._switch_seconds if not key.refiner and key.adapters != self._in_use else 0.0

    def _use(self, adapters: tuple[Adapter, ...]) -> None:
        if adapters == self._in_use:
            return
        began = self._clock()
        self._painter.use(adapters)
        self._painter.synchronise()
        self._switch_seconds = self._clock() - began
        self._in_use = adapters
        self._metrics.switched(self._switch_seconds)

    def failed(self, runs: list[Run], error: Exception) -> None:
        """Tell the tickets of a turn that failed.

        Raises:
            Exception: the error, when it is one of several in a row.
        """
        self._failures += 1
        log.error("a turn failed on the device", exc_info=error)
        for run in runs:
            self._end(run.ticket)
            run.ticket.fail(error)
        if self._failures >= FAILURES_IN_A_ROW:
            raise error

    def _end(self, ticket: Ticket) -> None:
        """Free all that a ticket has here."""
        run = self._runs.pop(ticket)
        self._lanes.remove(ticket)
        self._to_decode = deque(picture for picture in self._to_decode if picture.ticket is not ticket)
        if run in self._to_encode:
            self._to_encode.remove(run)
        self._source.finish(ticket)


class _Attempt:
    """A piece of work for some runs: an exception ends them and not the engine, unless the device is broken."""

    def __init__(self, turns: Turns, runs: list[Run]) -> None:
        self._turns = turns
        self._runs = runs

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._turns.failed(self._runs, error)
        return True
