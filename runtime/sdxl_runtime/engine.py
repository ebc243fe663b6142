"""The one thread that owns the device: it loads, warms every bucket up, then paints what it is given.

Each turn is one UNet evaluation of one bucket at its full batch. What paints is behind `Painter`: `pipeline.Pipeline`,
or a simulated one that needs no torch.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sdxl_runtime.buckets import Bucket, Cost
from sdxl_runtime.health import Health
from sdxl_runtime.jobs import Abandoned, Job, Outcome, Ticket
from sdxl_runtime.metrics import Metrics

if TYPE_CHECKING:
    from PIL.Image import Image

_FAILURES_IN_A_ROW = 3
"""A device that fails this often in a row is broken, not unlucky: the engine ends and the kubelet restarts the pod."""
_WARM_UP_STEPS = 4

log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Painter(Protocol):
    """The three stages of a picture on the device. Rows are its own; the engine asks whether they are done."""

    @property
    def token_limit(self) -> int:
        """Tokens of a prompt, with its start and its end."""

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, with its start and its end; may be called from any thread."""

    def encode(self, job: Job, indices: Sequence[int]) -> list[Any]:
        """The rows of some pictures of a job."""

    def step(self, bucket: Bucket, rows: Sequence[Any]) -> None:
        """One evaluation at the bucket's full batch; each row advances by a step."""

    def decode(self, row: Any) -> "Image":
        """The picture of a row that is done."""

    def synchronise(self) -> None:
        """Wait until everything that was started has finished."""


class Source(Protocol):
    """Where the engine's work comes from; `batcher.Batcher` is one."""

    clock: Callable[[], float]

    def take(self) -> Ticket | None:
        """The next ticket; blocks. None ends the engine."""

    def finish(self, ticket: Ticket) -> None:
        """A ticket is done."""

    def stop(self, error: BaseException | None = None) -> None:
        """There is no engine any more."""


class EngineStopped(Exception):
    """The engine's thread has ended; the message says why."""


class Engine:
    """Owns the device from `start` to `stop` of its source. `open_painter` loads the model, in the engine's thread."""

    def __init__(
        self,
        open_painter: Callable[[], Painter],
        source: Source,
        health: Health,
        metrics: Metrics,
        buckets: Sequence[Bucket],
        scheduler: str = "Euler",
    ) -> None:
        self._open_painter = open_painter
        self._source = source
        self._health = health
        self._metrics = metrics
        self._buckets = buckets
        self._scheduler = scheduler
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.painter: Painter | None = None
        self.costs: dict[Bucket, Cost] = {}
        """Measured at warm-up."""
        self.error: BaseException | None = None
        """What ended the thread, if something did."""
        self.settled = threading.Event()
        """Set once it serves or never will."""

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to load. Returns at once."""
        self._thread.start()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the thread to end; False where it takes longer."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.painter = self._open_painter()
            for bucket in self._buckets:
                self._warm_up(self.painter, bucket)
            self._health.ready()
            self.settled.set()
            self._serve(self.painter)
        except BaseException as error:  # whatever ends this thread must be seen by the probes and by who waits
            self.error = error
            self._health.fail(f"the engine stopped: {error or type(error).__name__}")
            self._source.stop(EngineStopped(str(error)))
            log.error("the engine stopped", exc_info=error)
        finally:
            self.settled.set()

    def _warm_up(self, painter: Painter, bucket: Bucket) -> None:
        """Run a bucket with its real batch and guidance, and measure it: the fastest of a few is its cost."""
        self._health.warming(bucket)
        job = Job("warm-up", None, bucket, bucket.batch, 0, _WARM_UP_STEPS, 5.0, self._scheduler)
        encode, rows = _timed(painter, lambda: painter.encode(job, range(bucket.batch)))
        steps = [_timed(painter, lambda: painter.step(bucket, rows))[0] for _ in range(_WARM_UP_STEPS)]
        painter.decode(rows[0])
        decode, _ = _timed(painter, lambda: painter.decode(rows[-1]))
        self.costs[bucket] = Cost(min(steps), encode / bucket.batch + decode)
        self._health.warmed(bucket, min(steps) * 1000)
        self._metrics.warmed(bucket.key, self._health.backend(bucket), min(steps) * 1000)

    def _serve(self, painter: Painter) -> None:
        failures = 0
        while (ticket := self._source.take()) is not None:
            try:
                outcome = self._paint(painter, ticket)
            except Abandoned as error:
                ticket.fail(error)
            except Exception as error:
                failures += 1
                log.error("a request failed on the device", exc_info=error)
                ticket.fail(error)
                if failures >= _FAILURES_IN_A_ROW:
                    raise
            else:
                failures = 0
                ticket.complete(outcome)
            finally:
                self._source.finish(ticket)

    def _paint(self, painter: Painter, ticket: Ticket) -> Outcome:
        """All pictures of a ticket, as many at a time as the bucket holds."""
        job = ticket.job
        phases = _Phases(ticket.started_at - ticket.accepted_at)
        images: list[Image] = []
        for first in range(0, job.n, job.bucket.batch):
            self._check(ticket)
            with phases.of("encode"):
                rows = painter.encode(job, range(first, min(first + job.bucket.batch, job.n)))
            while not all(row.done for row in rows):
                self._check(ticket)
                with phases.of("denoise"):
                    painter.step(job.bucket, rows)
                ticket.evaluations += len(rows)
                self._metrics.evaluated(len(rows))
            for row in rows:
                self._check(ticket)
                with phases.of("decode"):
                    images.append(painter.decode(row))
        return Outcome(tuple(images), ticket.evaluations, phases.seconds)

    def _check(self, ticket: Ticket) -> None:
        if ticket.is_abandoned(self._source.clock()):
            raise Abandoned


class _Phases:
    def __init__(self, queue_seconds: float) -> None:
        self.seconds = {"queue": queue_seconds, "encode": 0.0, "denoise": 0.0, "decode": 0.0}

    def of(self, phase: str) -> AbstractContextManager[None]:
        return _Lap(self.seconds, phase)


class _Lap(AbstractContextManager[None]):
    def __init__(self, seconds: dict[str, float], phase: str) -> None:
        self._seconds = seconds
        self._phase = phase

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self._seconds[self._phase] += time.perf_counter() - self._began


def _timed(painter: Painter, work: Callable[[], _T]) -> tuple[float, _T]:
    painter.synchronise()
    began = time.perf_counter()
    result = work()
    painter.synchronise()
    return time.perf_counter() - began, result
