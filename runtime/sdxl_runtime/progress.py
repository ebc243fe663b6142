"""What `compile` and `fetch` are doing right now: log lines, and `GET /progress` on the internal port."""

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOG_SECONDS = 5.0
"""A transfer that goes on is logged this often."""
WINDOW_SECONDS = 20.0
"""A speed is measured over so long."""
_BAR = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outlook:
    """The buckets that are still to be made, and how long that should take by what was measured before."""

    left: tuple[str, ...] = ()
    """Their keys, in the order of work; the present one is the first where it has to be made."""
    present_seconds: float = 0.0
    """What the present bucket should take from its begin on."""
    following_seconds: float = 0.0
    """What the ones after it should take."""
    measured: tuple[str, ...] = ()
    """The buckets whose seconds this is reckoned from; none: nothing was measured yet, and no time is known."""


@dataclass(frozen=True, slots=True)
class State:
    """One answer of `/progress`: the stage, bucket `index` (from 1) of `total`, bytes done of `total_bytes`."""

    stage: str = "Starting"
    bucket: str = ""
    index: int = 0
    total: int = 0
    bytes: int = 0
    total_bytes: int = 0
    """What the present transfer comes to; 0: there is none, or it is not known."""
    began: float = 0.0
    """When the present bucket did, by the clock of `Progress`."""
    outlook: Outlook = Outlook()
    waits_for: str = ""
    """Who keeps it waiting, and how; empty: nobody."""


class Progress:
    """The present state, replaced as a whole so that a reader in another thread never sees half of one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.started = clock()
        self.state = State()
        self._seen: deque[tuple[float, int]] = deque([(self.started, 0)])
        self._logged = self.started

    @property
    def seconds(self) -> float:
        """Seconds since the command started."""
        return self._clock() - self.started

    @property
    def bytes_per_second(self) -> int:
        """The speed of the present transfer over the last `WINDOW_SECONDS`, 0 before it is known."""
        since, bytes_then = self._seen[0]
        passed = self._clock() - since
        return max(round((self.state.bytes - bytes_then) / passed), 0) if passed > 0 else 0

    @property
    def eta_seconds(self) -> int | None:
        """How long it still takes: all buckets by what was measured, else the present transfer at its speed.

        None where neither is known. A bucket that takes longer than it should adds nothing.
        """
        speed, state = self.bytes_per_second, self.state
        if state.outlook.measured:
            return round(max(state.outlook.present_seconds - self.bucket_seconds, 0) + state.outlook.following_seconds)
        return round(max(state.total_bytes - state.bytes, 0) / speed) if speed and state.total_bytes else None

    @property
    def bucket_seconds(self) -> float:
        """Seconds since the work on the present bucket started; 0 before the first one."""
        return self._clock() - self.state.began if self.state.bucket else 0.0

    def begin(self, bucket: str, index: int, total: int, outlook: Outlook | None = None) -> None:
        """The work on one bucket starts."""
        self.state = replace(
            self.state, bucket=bucket, index=index, total=total, began=self._clock(), outlook=outlook or Outlook()
        )

    def expect(self, outlook: Outlook) -> None:
        """The present bucket turned out to be more work, or less, than it seemed when it began."""
        self.state = replace(self.state, outlook=outlook)

    def stage(self, stage: str) -> None:
        """The next stage starts, e.g. `Exporting`; it is logged with the seconds so far and what is left."""
        self.state = replace(self.state, stage=stage, waits_for="")
        where = f"{self.state.bucket} ({self.state.index} of {self.state.total}) " if self.state.bucket else ""
        log.info("%s%s at %.0f s%s", where, stage, self.seconds, self._left())

    def waits_for(self, whom: str) -> None:
        """It cannot go on before another did something, e.g. the owner of a lock; an empty text: it goes on."""
        self.state = replace(self.state, waits_for=whom)

    def transfer(self, total_bytes: int, present_bytes: int = 0) -> None:
        """Bytes are copied, loaded or read from now on, so many, of which some are there from an earlier run."""
        self.state = replace(self.state, bytes=present_bytes, total_bytes=total_bytes)
        now = self._clock()
        self._seen = deque([(now, present_bytes)])
        self._logged = now

    def add_bytes(self, count: int) -> None:
        """So many more bytes were copied, loaded or read; fewer than none where some turned out to be wrong."""
        self.state = replace(self.state, bytes=self.state.bytes + count)
        if count < 0:
            self._seen = deque((when, then + count) for when, then in self._seen)  # they were no speed
        now = self._clock()
        if now - self._seen[-1][0] >= WINDOW_SECONDS / 20:
            self._seen.append((now, self.state.bytes))
        while len(self._seen) > 2 and now - self._seen[1][0] > WINDOW_SECONDS:
            self._seen.popleft()
        if self.state.total_bytes and now - self._logged >= LOG_SECONDS:
            self._logged = now
            log.info("%s", self.line())

    def line(self) -> str:
        """How far the present transfer is: a bar, a share, sizes, speed and what is left."""
        state, speed, left = self.state, self.bytes_per_second, self.eta_seconds
        share = min(state.bytes / state.total_bytes, 1) if state.total_bytes else 0.0
        bar = "#" * int(share * _BAR)
        text = f"{state.stage} [{bar:-<{_BAR}}] {int(share * 100)} %, {size(state.bytes)} of {size(state.total_bytes)}"
        return f"{text}, {size(speed)}/s" + ("" if left is None else f", about {left} s left")

    def to_json(self) -> dict[str, object]:
        """The body of `/progress`; what is not known is absent, buckets where there are none to make too."""
        state, left = self.state, self.eta_seconds
        outlook = state.outlook
        to_make = {"bucketSeconds": round(self.bucket_seconds, 1), "left": list(outlook.left)} if outlook.left else {}
        return {
            "stage": state.stage,
            "bucket": state.bucket,
            "index": state.index,
            "total": state.total,
            "bytes": state.bytes,
            "totalBytes": state.total_bytes,
            "bytesPerSecond": self.bytes_per_second,
            "seconds": round(self.seconds, 1),
            **to_make,
            **({} if left is None else {"etaSeconds": left}),
            **({"etaFrom": list(outlook.measured)} if outlook.measured else {}),
            **({"waitsFor": state.waits_for} if state.waits_for else {}),
        }

    def _left(self) -> str:
        left = self.eta_seconds
        return "" if left is None else f", about {left} s left"


def size(count: float) -> str:
    """Bytes as people read them, in decimal units: `6.94 GB`."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB" if count < 999.5 else f"{count:.0f} GB"


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
