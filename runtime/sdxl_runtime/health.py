"""Loading → Warming → Ready → Draining, or Failed; and the table of buckets that `/readyz` shows."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from sdxl_runtime.buckets import Bucket

LOADED = "Loaded"
"""Of a bucket's entry: it runs with it."""
CORRUPT = "Corrupt"
"""Of a bucket's entry: it is damaged, or does not run here."""
PICTURE_DIFFERS = "PictureDiffers"
"""Of a bucket's entry: it is whole, and paints another picture here than was recorded with it."""


class State(StrEnum):
    """Where the process is in its life."""

    LOADING = "Loading"
    WARMING = "Warming"
    READY = "Ready"
    DRAINING = "Draining"
    FAILED = "Failed"


class BucketState(StrEnum):
    """Where one bucket is."""

    PENDING = "Pending"
    WARMING = "Warming"
    READY = "Ready"


class Outcome(StrEnum):
    """What came of comparing a bucket's picture with its entry's reference."""

    PASSED = "Passed"
    DIFFERS = "Differs"
    SKIPPED = "Skipped"


@dataclass(frozen=True, slots=True)
class PictureResult:
    """The comparison of one bucket."""

    outcome: Outcome
    why: str = ""
    """Why it was skipped, or what differs."""
    difference: Mapping[str, float] = field(default_factory=dict)
    """`latentMaximum` and `psnr` (dB) against the reference; empty where it was skipped."""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As docs/contract.md has it."""
        found: dict[str, Any] = {"outcome": self.outcome, **self.difference}
        found |= {"why": self.why} if self.why else {}
        return found | ({"seconds": round(self.seconds, 3)} if self.difference else {})


@dataclass(frozen=True, slots=True)
class BucketHealth:
    """One row of the table. `backend` is AheadOfTime, Eager or Simulated; empty until the bucket is bound."""

    key: str
    state: BucketState = BucketState.PENDING
    backend: str = ""
    why: str = ""
    entry: str = ""
    """What became of its entry of the bank: Loaded, Missing, Stale, Corrupt or PictureDiffers; empty where there is
    none to be had."""
    digest: str = ""
    """That of the entry, as it was accepted; empty where none was."""
    refused: str = ""
    """The digest of an entry that is whole and does not run here: it is not tried again."""
    milliseconds_per_step: float | None = None
    picture: PictureResult | None = None

    def to_json(self) -> dict[str, Any]:
        """As docs/contract.md has it; the cost is absent until it was measured."""
        row: dict[str, Any] = {"key": self.key, "state": self.state, "backend": self.backend, "why": self.why}
        row |= {name: value for name, value in (("entry", self.entry), ("digest", self.digest)) if value}
        if self.milliseconds_per_step is not None:
            row["millisecondsPerStep"] = round(self.milliseconds_per_step, 3)
        if self.picture is not None:
            row["picture"] = self.picture.to_json()
        return row


class Health:
    """What the probes read. The engine's thread and the signal handler write it, any thread reads it."""

    def __init__(self, buckets: Iterable[Bucket], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._state = State.LOADING
        self._message = ""
        self._identity = ""
        self._began = clock()
        self._seconds: dict[str, float] = {}
        self._buckets = {bucket.key: BucketHealth(bucket.key) for bucket in buckets}

    @property
    def state(self) -> State:
        """The present state."""
        return self._state

    @property
    def identity(self) -> str:
        """The numerics fingerprint; empty until it is known."""
        return self._identity

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of load and warm-up, once they are over."""
        return dict(self._seconds)

    def backend(self, bucket: Bucket) -> str:
        """How a bucket is run: AheadOfTime, Eager or Simulated."""
        return self._buckets[bucket.key].backend

    def row(self, bucket: Bucket) -> BucketHealth:
        """What is known of a bucket."""
        return self._buckets[bucket.key]

    def bound(self, bucket: Bucket, backend: str, why: str = "", entry: str = "", digest: str = "") -> None:
        """How a bucket will be run, and why not better; what became of its entry of the bank."""
        self._change(bucket, backend=backend, why=why, entry=entry, digest=digest)

    def refused(self, bucket: Bucket, backend: str, why: str, digest: str, entry: str = CORRUPT) -> None:
        """A bucket's entry is whole and does not run as it should here; it runs without."""
        self._change(bucket, backend=backend, why=why, entry=entry, digest=digest, refused=digest)

    def loaded(self, identity: str) -> None:
        """The model and its graphs are there; warm-up begins."""
        with self._lock:
            self._identity = identity
            self._seconds["load"] = self._lap()
            self._advance(State.LOADING, State.WARMING)

    def warming(self, bucket: Bucket) -> None:
        """A bucket's first run begins."""
        self._change(bucket, state=BucketState.WARMING)

    def warmed(self, bucket: Bucket, milliseconds_per_step: float) -> None:
        """A bucket ran once with its real batch and guidance."""
        self._change(bucket, state=BucketState.READY, milliseconds_per_step=milliseconds_per_step)

    def compared(self, bucket: Bucket, picture: PictureResult) -> None:
        """A bucket's picture was compared with its entry's reference, or why not; `check` is a part of `warm`."""
        self._change(bucket, picture=picture)
        with self._lock:
            if picture.difference and self._state is State.WARMING:
                self._seconds["check"] = self._seconds.get("check", 0.0) + picture.seconds

    def ready(self) -> None:
        """Every bucket ran once. A process that drains or failed stays so."""
        with self._lock:
            self._seconds["warm"] = self._lap()
            self._advance(State.WARMING, State.READY)

    def drain(self) -> None:
        """No new work from now on."""
        with self._lock:
            if self._state is not State.FAILED:
                self._state = State.DRAINING

    def fail(self, message: str) -> None:
        """It cannot serve, or no longer; the first message stays."""
        with self._lock:
            if self._state is not State.FAILED:
                self._state, self._message = State.FAILED, message

    def to_json(self) -> dict[str, Any]:
        """The body of `/readyz`."""
        with self._lock:
            return {
                "state": self._state,
                "message": self._message,
                "identity": self._identity,
                "buckets": [bucket.to_json() for bucket in self._buckets.values()],
                "seconds": {phase: round(seconds, 3) for phase, seconds in self._seconds.items()},
            }

    def _advance(self, before: State, after: State) -> None:
        if self._state is before:
            self._state = after

    def _lap(self) -> float:
        now = self._clock()
        seconds, self._began = now - self._began, now
        return seconds

    def _change(self, bucket: Bucket, **changes: Any) -> None:
        with self._lock:
            self._buckets[bucket.key] = replace(self._buckets[bucket.key], **changes)
