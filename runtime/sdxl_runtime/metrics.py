"""Prometheus metrics: every name is here. A registry per object, so that tests do not share counters."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from sdxl_runtime import __version__

CONTENT_TYPE = CONTENT_TYPE_LATEST
PHASES = ("queue", "encode", "denoise", "decode", "encode_image", "total")
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """What a process counts."""

    def __init__(self, backend: str) -> None:
        self._registry = CollectorRegistry()

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(name, text, labels, registry=self._registry)

        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(name, text, labels, registry=self._registry)

        self._requests = counter(
            "sdxl_requests_total", "Generation requests by HTTP status; 499: client gone", ("code",)
        )
        self._images = counter("sdxl_images_total", "Pictures returned, by bucket", ("bucket",))
        self._executed = counter("sdxl_evaluations_executed_total", "UNet evaluations executed, per picture and step")
        self._nominal = counter("sdxl_evaluations_nominal_total", "UNet evaluations of finished requests, none skipped")
        self._seconds = Histogram(
            "sdxl_request_seconds",
            "Seconds of finished requests by phase",
            ("phase",),
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._queue = gauge("sdxl_queue_seconds", "Seconds of work that is left, waiting and in flight")
        self._waiting = gauge("sdxl_requests_waiting", "Accepted requests that have not begun")
        self._in_flight = gauge("sdxl_requests_in_flight", "Requests on the device")
        self._step = gauge(
            "sdxl_bucket_step_milliseconds", "One UNet evaluation at full batch, at warm-up", ("bucket", "backend")
        )
        gauge("sdxl_runtime_info", "What runs here", ("version", "backend")).labels(__version__, backend).set(1)

    def requested(self, code: int) -> None:
        """A generation request was answered."""
        self._requests.labels(str(code)).inc()

    def evaluated(self, count: int) -> None:
        """One evaluation advanced this many pictures."""
        self._executed.inc(count)

    def finished(self, bucket: str, images: int, nominal: int, seconds: Mapping[str, float]) -> None:
        """A request was answered with pictures."""
        self._images.labels(bucket).inc(images)
        self._nominal.inc(nominal)
        for phase, value in seconds.items():
            self._seconds.labels(phase).observe(value)

    def warmed(self, bucket: str, backend: str, milliseconds: float) -> None:
        """A bucket's cost was measured."""
        self._step.labels(bucket, backend).set(milliseconds)

    def render(self, queued_seconds: float, waiting: int, in_flight: int) -> bytes:
        """The text of `/metrics` with the present load."""
        self._queue.set(queued_seconds)
        self._waiting.set(waiting)
        self._in_flight.set(in_flight)
        return generate_latest(self._registry)
