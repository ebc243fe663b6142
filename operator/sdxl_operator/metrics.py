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
WRITES = Counter("sdxl_operator_writes_total", "Writes sent to the API server.", ("kind", "verb"))
"""By kind and verb: `apply`, `status`, `delete` or `event`."""
SKIPPED_WRITES = Counter("sdxl_operator_skipped_writes_total", "Writes not needed.", ("kind", "verb"))
"""By kind and verb, as with the writes."""
CALL_SECONDS = Histogram(
    "sdxl_operator_api_call_seconds", "Seconds of one call to the API server.", ("method", "code"), buckets=SECONDS
)
"""By HTTP method and status code; code 0 is a call without an answer."""


def serve(port: int, address: str) -> None:
    """Answer `/metrics` from a thread of its own.

    Raises:
        OSError: the port is taken.
    """
    start_http_server(port, address)
