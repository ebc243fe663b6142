"""The cache: what is slow to make and never changes once made. Outside the checkout, keyed by version."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_root() -> Path:
    """`$XDG_CACHE_HOME/sdxl-operator`, or the same under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sdxl-operator"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock that other processes of the same user respect; it goes away with the process, however that ends."""
    folder = cache_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def build_once(target: Path, build: Callable[[Path], None]) -> Path:
    """Make `target` with `build(temporary path)` unless it exists. It appears by a rename, so it is whole or absent."""
    if target.exists():
        return target
    with locked(target.name):
        if target.exists():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".unfinished-{target.name}-"
        for leftover in target.parent.glob(f"{prefix}*"):  # of a killed build; a running one would hold the lock
            shutil.rmtree(leftover)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=prefix) as folder:
            unfinished = Path(folder) / target.name
            build(unfinished)
            unfinished.rename(target)
    return target
