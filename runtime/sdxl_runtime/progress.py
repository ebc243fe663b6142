"""What `compile` and `fetch` are doing right now: log lines, and `GET /progress` on the internal port."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class State:
    """One answer of `/progress`: the stage, bucket `index` (from 1) of `total`, seconds since the start, bytes done."""

    stage: str = "Starting"
    bucket: str = ""
    index: int = 0
    total: int = 0
    bytes: int = 0


class Progress:
    """The present state, replaced as a whole so that a reader in another thread never sees half of one."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.state = State()

    @property
    def seconds(self) -> float:
        """Seconds since the command started."""
        return time.monotonic() - self.started

    def begin(self, bucket: str, index: int, total: int) -> None:
        """The work on one bucket starts."""
        self.state = replace(self.state, bucket=bucket, index=index, total=total)

    def stage(self, stage: str) -> None:
        """The next stage starts, e.g. `Exporting`; it is logged with the seconds so far and what is left."""
        self.state = replace(self.state, stage=stage)
        where = f"{self.state.bucket} ({self.state.index} of {self.state.total}) " if self.state.bucket else ""
        log.info("%s%s at %.0f s%s", where, stage, self.seconds, self._left())

    def add_bytes(self, count: int) -> None:
        """So many more bytes were copied or read."""
        self.state = replace(self.state, bytes=self.state.bytes + count)

    def to_json(self) -> dict[str, object]:
        """The body of `/progress`."""
        return {**asdict(self.state), "seconds": round(self.seconds, 1)}

    def _left(self) -> str:
        done = self.state.index - 1
        if done < 1:
            return ""
        return f", about {self.seconds / done * (self.state.total - done):.0f} s left"


@contextmanager
def served(progress: Progress, host: str, port: int) -> Iterator[int]:
    """Answer `GET /progress` from a thread while the block runs; yields the port (a free one if asked for 0).

    A port that is taken is logged, and the work goes on without: progress is a convenience.
    """
    try:
        server = ThreadingHTTPServer((host, port), _handler(progress))
    except OSError as error:
        log.warning("no progress on port %d: %s", port, error)
        yield 0
        return
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True, name="progress")
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(progress: Progress) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path in ("/progress", "/healthz")
            body = json.dumps(progress.to_json() if found else {"error": "only /progress is here"}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Polls are not worth a line each."""

    return Handler
