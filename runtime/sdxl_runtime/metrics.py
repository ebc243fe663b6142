"""Prometheus metrics: every name is here. A registry per object, so that tests do not share counters."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from sdxl_runtime import __version__
from sdxl_runtime.buckets import Bucket

CONTENT_TYPE = CONTENT_TYPE_LATEST
PHASES = ("queue", "encode", "denoise", "decode", "encode_image", "total")
ENTRIES = ("Loaded", "Missing", "Stale", "Corrupt", "PictureDiffers")
OUTCOMES = ("Passed", "Differs", "Skipped")
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """What a process counts."""

    def __init__(self, backend: str) -> None:
        self._registry = CollectorRegistry()
        self.finished_requests = 0
        """Answered with pictures."""

        self._descriptions: list[tuple[str, str, tuple[str, ...], str]] = []

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            self._descriptions.append((name, "counter", labels, text))
            return Counter(name, text, labels, registry=self._registry)

        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            self._descriptions.append((name, "gauge", labels, text))
            return Gauge(name, text, labels, registry=self._registry)

        self._requests = counter(
            "sdxl_requests_total", "Generation requests by HTTP status; 499: client gone", ("code",)
        )
        self._images = counter("sdxl_images_total", "Pictures returned, by bucket", ("bucket",))
        self._executed = counter("sdxl_evaluations_executed_total", "UNet evaluations executed, per picture and step")
        self._nominal = counter("sdxl_evaluations_nominal_total", "UNet evaluations of finished requests, none skipped")
        self._rows_used = counter("sdxl_rows_used_total", "Pictures in evaluations, by bucket", ("bucket",))
        self._rows = counter("sdxl_rows_total", "Pictures that the evaluations had room for, by bucket", ("bucket",))
        self._pixels = counter("sdxl_pixels_total", "Pixels of pictures returned")
        self._seconds = self._histogram("sdxl_request_seconds", "Seconds of finished requests by phase", ("phase",))
        self._step_seconds = self._histogram(
            "sdxl_step_seconds", "Seconds of one UNet evaluation at full batch, by bucket", ("bucket",)
        )
        self._preview_seconds = self._histogram("sdxl_preview_seconds", "Seconds of one preview on the device")
        self._switch_seconds = self._histogram("sdxl_adapter_switch_seconds", "Seconds of merging adapters, in turns")
        self._recompiles = gauge("sdxl_recompiles", "Graphs compiled since ready; it must stay 0")
        self._queue = gauge("sdxl_queue_seconds", "Seconds of work that is left, waiting and in flight")
        self._waiting = gauge("sdxl_requests_waiting", "Accepted requests that have not begun")
        self._in_flight = gauge("sdxl_requests_in_flight", "Requests on the device")
        self._step = gauge(
            "sdxl_bucket_step_milliseconds", "One UNet evaluation at full batch, at warm-up", ("bucket", "backend")
        )
        self._entries = gauge(
            "sdxl_bank_entry",
            "1 for what became of a bucket's entry: Loaded, Missing, Stale, Corrupt, PictureDiffers",
            ("bucket", "entry"),
        )
        self._pictures = gauge(
            "sdxl_picture_check",
            "1 for what came of comparing a bucket's picture with its entry's reference: Passed, Differs, Skipped",
            ("bucket", "outcome"),
        )
        gauge("sdxl_runtime_info", "What runs here", ("version", "backend")).labels(__version__, backend).set(1)

    def _histogram(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Histogram:
        self._descriptions.append((name, "histogram", labels, text))
        return Histogram(name, text, labels, registry=self._registry, buckets=_SECONDS)

    def requested(self, code: int) -> None:
        """A generation request was answered."""
        self._requests.labels(str(code)).inc()

    def evaluated(self, bucket: str, rows: int, batch: int, seconds: float) -> None:
        """One evaluation of a bucket advanced this many pictures."""
        self._executed.inc(rows)
        self._rows_used.labels(bucket).inc(rows)
        self._rows.labels(bucket).inc(batch)
        self._step_seconds.labels(bucket).observe(seconds)

    def previewed(self, seconds: float) -> None:
        """A preview was made on the device."""
        self._preview_seconds.observe(seconds)

    def switched(self, seconds: float) -> None:
        """Other adapters were merged."""
        self._switch_seconds.observe(seconds)

    def ready(self, compilations: Callable[[], int]) -> None:
        """Warm-up is over: what is compiled from now on is counted against it."""
        before = compilations()
        self._recompiles.set_function(lambda: compilations() - before)

    def finished(self, bucket: Bucket, images: int, nominal: int, seconds: Mapping[str, float]) -> None:
        """A request was answered with pictures."""
        self.finished_requests += 1
        self._images.labels(bucket.key).inc(images)
        self._pixels.inc(images * bucket.width * bucket.height)
        self._nominal.inc(nominal)
        for phase, value in seconds.items():
            self._seconds.labels(phase).observe(value)

    def warmed(self, bucket: str, backend: str, milliseconds: float) -> None:
        """A bucket's cost was measured."""
        self._step.labels(bucket, backend).set(milliseconds)

    def entry(self, bucket: str, entry: str) -> None:
        """What became of a bucket's entry of the bank, empty where none was asked for."""
        for state in ENTRIES if entry else ():
            self._entries.labels(bucket, state).set(state == entry)

    def compared(self, bucket: str, outcome: str) -> None:
        """A bucket's picture was compared with its entry's reference, or was not."""
        for known in OUTCOMES:
            self._pictures.labels(bucket, known).set(known == outcome)

    def described(self) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
        """Name as scraped, kind, labels and text of every metric."""
        yield from self._descriptions

    def render(self, queued_seconds: float, waiting: int, in_flight: int) -> bytes:
        """The text of `/metrics` with the present load."""
        self._queue.set(queued_seconds)
        self._waiting.set(waiting)
        self._in_flight.set(in_flight)
        return generate_latest(self._registry)
