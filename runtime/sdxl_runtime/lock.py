"""One writer per volume: a lock file with its owner and a heartbeat, on any file system that can create exclusively.

It keeps writers from doing the same work twice. What keeps the volume right even if two believed they held it is that
everything is published by renaming to a name that does not exist.
"""

import json
import logging
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sdxl_runtime.termination import Failure, Reason

HEARTBEAT_SECONDS = 2.0
STALE_SECONDS = 15.0
"""An owner that wrote nothing for this long, on the waiter's own clock, is dead."""

log = logging.getLogger(__name__)


@contextmanager
def locked(
    path: Path,
    purpose: str,
    wait_seconds: float = 300,
    stale_seconds: float = STALE_SECONDS,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
    waits_for: Callable[[str], None] = lambda owner: None,
) -> Iterator["Held"]:
    """Hold the lock file `path` while the block runs; wait for another owner, take over from a dead one.

    `waits_for` is told whom it waits for whenever that changes, and an empty text once the lock is held.

    Raises:
        Failure: `BankLocked`, its owner still lives after `wait_seconds`.
        OSError: the file cannot be written, e.g. on a full volume; it is not left behind.
    """
    token = secrets.token_hex(8)
    owner = {**_myself(), "token": token, "purpose": purpose}
    _acquire(path, owner, wait_seconds, _Watch(stale_seconds, waits_for))
    held = Held(path, token)
    stop = threading.Event()
    thread = threading.Thread(target=_beat, args=(path, token, stop, heartbeat_seconds), daemon=True, name="heartbeat")
    thread.start()
    try:
        yield held
    finally:
        stop.set()
        thread.join()
        if held.mine():
            path.unlink(missing_ok=True)


class Held:
    """A lock that was acquired."""

    def __init__(self, path: Path, token: str) -> None:
        self.path = path
        self.token = token

    def mine(self) -> bool:
        """Whether nobody has taken it over meanwhile, e.g. after this process was stopped for a while."""
        owner = _read(self.path)
        return owner is not None and owner.get("token") == self.token


def _myself() -> dict[str, Any]:
    return {"host": platform.node(), "space": _process_space(), "process": os.getpid(), "start": _start(os.getpid())}


def _process_space() -> str:
    # pod names repeat (host network), process numbers repeat (every container has a 1): only both together tell
    boot = Path("/proc/sys/kernel/random/boot_id")
    try:
        return f"{boot.read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start(process: int) -> str:
    """The start time of a process in clock ticks since boot, empty if there is none: field 22 of `proc(5)` stat."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def _acquire(path: Path, owner: dict[str, Any], wait_seconds: float, watch: "_Watch") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    while not _create(path, owner):
        present = _read(path)
        if watch.is_dead(present):
            _remove(path, present, watch)
            if not path.exists():
                continue
        if time.monotonic() >= deadline:
            raise Failure(
                Reason.BANK_LOCKED,
                f"{path.parent} is being written by {_describe(present)}; waited {wait_seconds:.0f} s",
            )
        if present is not None:
            watch.tell(_describe(present))
        watch.log_every(15, lambda: f"waiting for {_describe(_read(path))} on {path.parent}")
        time.sleep(min(0.2, watch.stale_seconds / 10))
    watch.tell("")


class _Watch:
    """Decides by what it saw itself, so that clocks of different nodes need not agree."""

    def __init__(self, stale_seconds: float, waits_for: Callable[[str], None]) -> None:
        self.stale_seconds = stale_seconds
        self.waits_for = waits_for
        self.told = ""
        self.last: dict[str, Any] | None = None
        self.changed = time.monotonic()
        self.logged = -1e9
        self.takeover_seen: float | None = None

    def is_dead(self, owner: dict[str, Any] | None) -> bool:
        if owner != self.last:
            self.last, self.changed = owner, time.monotonic()
        if owner and owner.get("space") and owner["space"] == _process_space():
            return _start(int(owner.get("process", 0))) != owner.get("start")
        return time.monotonic() - self.changed > self.stale_seconds

    def waited_for_takeover(self) -> bool:
        """Whether another waiter's takeover was in the way for as long as makes an owner dead."""
        now = time.monotonic()
        self.takeover_seen = now if self.takeover_seen is None else self.takeover_seen
        over = now - self.takeover_seen > self.stale_seconds
        self.takeover_seen = None if over else self.takeover_seen
        return over

    def tell(self, owner: str) -> None:
        if owner != self.told:
            self.told = owner
            self.waits_for(owner)

    def log_every(self, seconds: float, sentence: Callable[[], str]) -> None:
        if time.monotonic() - self.logged >= seconds:
            self.logged = time.monotonic()
            log.info("%s", sentence())


def _create(path: Path, owner: dict[str, Any]) -> bool:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_line(owner, 0))
    except OSError:
        path.unlink(missing_ok=True)  # an empty file would keep the next writer waiting for an owner that is none
        raise
    return True


def _line(owner: dict[str, Any], beat: int) -> bytes:
    # one length for ever: a beat overwrites in place and needs no space on a full volume
    return json.dumps({**owner, "beat": f"{beat:012d}"}).encode() + b"\n"


def _read(path: Path) -> dict[str, Any] | None:
    """The owner, None where there is no file; a file that cannot be read counts as one owner, told by its inode."""
    try:
        content, inode = path.read_bytes(), path.stat().st_ino
    except OSError:
        return None
    try:
        owner = json.loads(content)
    except ValueError:
        owner = None
    return owner if isinstance(owner, dict) else {"token": f"inode {inode}"}


def _remove(path: Path, dead: dict[str, Any] | None, watch: _Watch) -> None:
    """Take the dead owner's file away, one waiter at a time: a second one would take the first one's new file away."""
    marker = path.with_name(f"{path.name}-takeover")
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    except FileExistsError:
        if watch.waited_for_takeover():
            marker.unlink(missing_ok=True)  # who made it died in the middle
        return
    try:
        present = _read(path)
        if present is not None and dead is not None and present.get("token") == dead.get("token"):
            log.warning("taking over from %s on %s", _describe(dead), path.parent)
            path.unlink(missing_ok=True)
    finally:
        marker.unlink(missing_ok=True)


def _beat(path: Path, token: str, stop: threading.Event, seconds: float) -> None:
    beat = 0
    while not stop.wait(seconds):
        beat += 1
        owner = _read(path)
        if owner is None or owner.get("token") != token:
            log.error("lost the lock %s to %s", path, _describe(owner))
            return
        try:
            descriptor = os.open(path, os.O_WRONLY)
            try:
                os.pwrite(descriptor, _line(owner, beat), 0)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.warning("no heartbeat on %s: %s", path, error)


def _describe(owner: dict[str, Any] | None) -> str:
    if owner is None or "host" not in owner:
        return "an unknown owner"
    return f"{owner.get('host')} (process {owner.get('process')}, {owner.get('purpose')})"
