"""The cgroup under which everything of a local cluster runs, in cgroup v1 and v2. It is the list of what to end."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from dev.cluster.local.layout import CGROUP, Node

ROOT = Path("/sys/fs/cgroup")
DAEMONS = f"{CGROUP}/daemons"


def hierarchies(root: Path = ROOT) -> list[Path]:
    """The folders in which cgroups are made: the one of v2, or each controller's of v1."""
    if (root / "cgroup.controllers").exists():
        return [root]
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.is_symlink())


def tracker(root: Path = ROOT) -> Path:
    """The hierarchy that our daemons join. In v1 one without limits of its own, so that nobody's accounting changes."""
    return next((root / name for name in ("pids", "systemd") if (root / name).is_dir()), root)


def prepare(node: Node, root: Path = ROOT) -> None:
    """Make the node's cgroup everywhere; a v1 cpuset takes no process before its lists are filled."""
    for hierarchy in hierarchies(root):
        for path in (CGROUP, node.cgroup):
            _make(hierarchy / path)
    _make(tracker(root) / DAEMONS)


def _make(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("cpuset.cpus", "cpuset.mems"):
        own, above = folder / name, folder.parent / name
        if own.exists() and above.exists() and above.read_text().strip() and not own.read_text().strip():
            own.write_text(above.read_text())
    controllers = folder.parent / "cgroup.controllers"
    if controllers.exists():  # v2: controllers have to be handed down; one that cannot be, the kubelet names
        for name in controllers.read_text().split():
            with contextlib.suppress(OSError):
                (folder.parent / "cgroup.subtree_control").write_text(f"+{name}")


def join_daemons() -> None:
    """Run in a new child before it becomes a daemon."""
    (tracker() / DAEMONS / "cgroup.procs").write_text(str(os.getpid()))


def members(root: Path = ROOT) -> set[int]:
    """Every process in our cgroups: daemons, shims and what runs in pods."""
    return _processes(leftovers(CGROUP, root))


def node_members(node: Node, root: Path = ROOT) -> set[int]:
    """The processes in the pods of one node."""
    return _processes(leftovers(node.cgroup, root))


def pod_members(uid: str, root: Path = ROOT) -> set[int]:
    """The processes in one pod, by its uid, on whichever node it is."""
    return _processes(folder for folder in leftovers(CGROUP, root) if f"/pod{uid}/" in f"{folder}/")


def _processes(folders: Iterable[Path]) -> set[int]:
    found: set[int] = set()
    for folder in folders:
        with contextlib.suppress(OSError):  # it went away meanwhile
            found.update(int(word) for word in (folder / "cgroup.procs").read_text().split())
    return found - {0}


def remove(path: str = CGROUP, root: Path = ROOT, seconds: float = 5.0) -> None:
    """Remove our cgroups, the deepest first. A cgroup can stay busy for a moment after its last process ended."""
    deadline = time.monotonic() + seconds
    while left := leftovers(path, root):
        for folder in left:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


def leftovers(path: str = CGROUP, root: Path = ROOT) -> list[Path]:
    return [folder for hierarchy in hierarchies(root) for folder in _tree(hierarchy / path)]


def _tree(top: Path) -> Iterator[Path]:
    """A folder and all below it, the deepest first."""
    for folder, _, _ in os.walk(top, topdown=False):
        yield Path(folder)
