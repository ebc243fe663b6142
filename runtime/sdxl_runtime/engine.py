"""The one thread that owns the device: it loads, warms every bucket up, then serves turn by turn."""

import logging
import threading
from collections.abc import Callable, Sequence

from sdxl_runtime.buckets import Bucket, Cost
from sdxl_runtime.health import Health
from sdxl_runtime.metrics import Metrics
from sdxl_runtime.painter import Painter
from sdxl_runtime.reference import References
from sdxl_runtime.renewal import Renewals, Unbound
from sdxl_runtime.turns import Source, Turns
from sdxl_runtime.warmup import WarmUp

log = logging.getLogger(__name__)


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
        costs: dict[Bucket, Cost],
        scheduler: str = "Euler",
        unbound: Unbound | None = None,
        references: References | None = None,
    ) -> None:
        self._open_painter = open_painter
        self._source = source
        self._health = health
        self._metrics = metrics
        self._buckets = buckets
        self._warm_up = WarmUp(health, metrics, scheduler, {} if references is None else references)
        self._renewals = None if unbound is None else Renewals(unbound, source.wake)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.painter: Painter | None = None
        self.costs = costs
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
                self.costs[bucket] = self._warm_up.run(self.painter, bucket)
            self._metrics.ready(self.painter.compilations)
            self._health.ready()
            self.settled.set()
            if self._renewals is not None:
                self._renewals.start()
            Turns(self.painter, self._source, self._metrics, self.costs, self).serve()
        except BaseException as error:  # whatever ends this thread must be seen by the probes and by who waits
            self.error = error
            self._health.fail(f"the engine stopped: {error or type(error).__name__}")
            self._source.stop(EngineStopped(str(error)))
            log.error("the engine stopped", exc_info=error)
        finally:
            if self._renewals is not None:
                self._renewals.stop()
            self.settled.set()

    @property
    def pending(self) -> bool:
        """Whether the bank has entries to be taken up."""
        return self._renewals is not None and self._renewals.pending

    def do(self) -> None:
        """Take them up, and measure their buckets anew; in the engine's thread, while nothing runs."""
        assert self._renewals is not None
        assert self.painter is not None
        for bucket in self._renewals.take_up(self.painter):
            self.costs[bucket] = self._warm_up.run(self.painter, bucket, serving=True)
