"""What the operator measures about itself; the names are a contract with dashboards and alerts."""

from prometheus_client import Counter, Gauge, Histogram, start_http_server

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

RECONCILE_SECONDS = Histogram(
    "sdxl_operator_reconcile_seconds", "Seconds of one turn.", ("kind", "result"), buckets=SECONDS
)
"""By kind of the key and result: `done`, `requeued`, `unavailable` or `error`."""
ERRORS = Counter("sdxl_operator_errors_total", "Turns that failed, by the reason of the failure.", ("kind", "reason"))
"""The reason is the API server's (`Invalid`, `Forbidden` …) or the name of the exception's class."""
QUEUE_DEPTH = Gauge("sdxl_operator_queue_depth", "Keys that wait for their turn.")
"""Read from the queue when it is asked for."""
CALLS = Counter("sdxl_operator_api_calls_total", "Calls to the API server.", ("kind", "verb", "code"))
"""By kind, verb (`get`, `list`; the writes are `apply`, `status`, `delete`, `event`) and HTTP status or `none`."""
CALL_SECONDS = Histogram("sdxl_operator_api_call_seconds", "Seconds of one call.", ("verb",), buckets=SECONDS)
"""By verb, as with the calls."""


def observe_call(kind: str, verb: str, code: str, seconds: float) -> None:
    """Count one call to the API server."""
    CALLS.labels(kind, verb, code).inc()
    CALL_SECONDS.labels(verb).observe(seconds)


def serve(port: int, address: str) -> None:
    """Answer `/metrics` from a thread of its own.

    Raises:
        OSError: the port is taken.
    """
    start_http_server(port, address)
