"""How Jobs end: one line of JSON in the termination log, an exit code, and a reason for a failure."""

import errno
import json
import logging
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Any

from sdxl_runtime.settings import SettingsError

LIMIT_BYTES = 4096
"""The kubelet cuts a termination message here."""

log = logging.getLogger(__name__)


class Reason(StrEnum):
    """Why a command failed; the operator turns it into a condition."""

    VOLUME_FULL = "VolumeFull"
    OUT_OF_MEMORY = "OutOfMemory"
    MODEL_INVALID = "ModelInvalid"
    MODEL_MISSING = "ModelMissing"
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_UNAUTHORIZED = "SourceUnauthorized"
    SOURCE_UNAVAILABLE = "SourceUnavailable"
    CHECKSUM_MISMATCH = "ChecksumMismatch"
    BANK_LOCKED = "BankLocked"
    REGISTRY_UNAVAILABLE = "RegistryUnavailable"
    REGISTRY_DENIED = "RegistryDenied"
    ARTIFACT_MISSING = "ArtifactMissing"
    ARTIFACT_INVALID = "ArtifactInvalid"
    SIGNATURE_INVALID = "SignatureInvalid"
    PICTURE_DIFFERS = "PictureDiffers"
    INVALID_SETTINGS = "InvalidSettings"
    INTERNAL = "Internal"


class Failure(Exception):
    """A failure whose reason is known. `message` is a sentence for the user, `bucket` a key or empty."""

    def __init__(self, reason: Reason, message: str, bucket: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.bucket = bucket


def classify(error: BaseException, bucket: str = "") -> Failure:
    """The `Failure` that an exception stands for; its own bucket wins over `bucket`."""
    for cause in _chain(error):
        if isinstance(cause, Failure):
            return Failure(cause.reason, cause.message, cause.bucket or bucket)
        if isinstance(cause, SettingsError):
            return Failure(Reason.INVALID_SETTINGS, str(cause), bucket)
        if _is_volume_full(cause):
            return Failure(Reason.VOLUME_FULL, f"no space left: {_last_line(cause)}; give the volume more", bucket)
        if _is_out_of_memory(cause):
            return Failure(
                Reason.OUT_OF_MEMORY, f"memory ran out: {_last_line(cause)}; give the container more", bucket
            )
    return Failure(Reason.INTERNAL, _last_line(error), bucket)


def _chain(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _is_volume_full(error: BaseException) -> bool:
    # g++ says it only in the builder's message
    return (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or (
        isinstance(error, RuntimeError) and "No space left on device" in str(error)
    )


def _is_out_of_memory(error: BaseException) -> bool:
    # torch's CPU allocator raises a plain RuntimeError; g++ that the kernel kills only shows in the builder's message
    words = ("DefaultCPUAllocator: can't allocate memory", "out of memory", "Killed signal terminated program")
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and any(word in str(error) for word in words))
    )


def _last_line(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip()[:1000]


def finish(path: Path, message: Mapping[str, Any]) -> None:
    """Write and log the message as one line of at most `LIMIT_BYTES`; a file that cannot be written is no failure.

    Too many entries are first shortened to bucket, state and digest; `leftOut` says how many did not fit even so.
    """
    line = _line(message)
    entries = [_short(entry) for entry in message.get("entries", ())]
    while len(line) > LIMIT_BYTES and entries:
        line = _line({**message, "entries": entries, "leftOut": len(message["entries"]) - len(entries)})
        entries.pop()
    log.info("%s", line.decode())
    try:
        path.write_bytes(line[:LIMIT_BYTES])
    except OSError as error:
        log.warning("the termination message was not written: %s", error)


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def _short(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key in ("bucket", "state", "digest")}


def run(path: Path, work: Callable[[], Mapping[str, Any]]) -> int:
    """Do the work, leave its result or the classified error at `path`, and return the exit code of docs/contract.md."""
    try:
        with _stopped_by_sigterm():
            finish(path, work())
    except Stopped:
        log.warning("stopped by SIGTERM")
        return 143
    except Exception as error:
        failure = classify(error)
        if failure.reason is Reason.INTERNAL:
            log.exception("failed")
        finish(path, {"error": {"reason": failure.reason, "message": failure.message[:3000], "bucket": failure.bucket}})
        return 2 if failure.reason is Reason.INVALID_SETTINGS else 1
    return 0


class Stopped(BaseException):
    """SIGTERM came; no `except Exception` on the way up may swallow it."""


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not interrupt the sweeping
        raise Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
