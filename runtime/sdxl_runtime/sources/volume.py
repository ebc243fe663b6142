"""A model's folder on its volume: there as a whole or not at all, and what interrupted runs leave beside it."""

import logging
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from sdxl_runtime.lock import locked
from sdxl_runtime.termination import Failure, Reason

FORGOTTEN_SECONDS = 24 * 3600.0
"""What was staged for another model and not touched for so long is nobody's any more."""
_STAGING = ".staging-"

log = logging.getLogger(__name__)


def lock_of(target: Path) -> Path:
    """The lock file that a writer of `target` holds."""
    return target.parent / f".lock-{target.name}"


def staging_of(target: Path) -> Path:
    """Where the files for `target` are put together; the next run goes on with what is there."""
    return target.parent / f"{_STAGING}{target.name}"


def publish(staging: Path, target: Path) -> None:
    """Give the whole folder its name; what was there before goes. Killed in between, the next run publishes again."""
    for folder, _, _ in os.walk(staging):
        _sync(Path(folder))
    replaced = staging.parent / f"{_STAGING}{target.name}-replaced-{secrets.token_hex(4)}"
    if target.exists():
        target.rename(replaced)
    staging.rename(target)
    _sync(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def sweep(target: Path) -> None:
    """Remove what killed runs left: replaced folders of `target`, and what was staged for others a day ago."""
    own = staging_of(target)
    for leftover in target.parent.glob(f"{own.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    now = lock_of(target).stat().st_mtime  # by the clock of the volume's server, which wrote the others' too
    for other in target.parent.glob(f"{_STAGING}*"):
        if other != own and other.is_dir() and now - _touched(other) > FORGOTTEN_SECONDS:
            _remove_forgotten(other)


def make_room(folder: Path, needed_bytes: int) -> None:
    """See that so much fits.

    Raises:
        Failure: `VolumeFull`, with what is there and what is needed.
    """
    free = shutil.disk_usage(folder).free
    if needed_bytes > free:
        raise Failure(
            Reason.VOLUME_FULL,
            f"{needed_bytes} bytes are still to come and {free} are free on the volume; give the volume more",
        )


def _remove_forgotten(staging: Path) -> None:
    target = staging.parent / staging.name.removeprefix(_STAGING)
    with suppress(Failure), locked(lock_of(target), "sweeping", wait_seconds=0):  # held: it is somebody's after all
        log.info("removing %s, which nobody has touched for a day", staging)
        shutil.rmtree(staging, ignore_errors=True)


def _touched(folder: Path) -> float:
    times = [path.lstat().st_mtime for path in (folder, *folder.rglob("*"))]
    return max(times, default=0.0)


def _sync(folder: Path) -> None:
    """Make renames within a folder last; file systems that cannot do that for folders say so, and are left alone."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
