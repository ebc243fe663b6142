"""Taking a local cluster away completely, and checking that nothing of it is left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from pathlib import Path

from dev.cluster.local import cgroups, keeping, network, processes
from dev.cluster.local.layout import NODE_LIMIT, Layout
from dev.shell import Failed, read, run

PRIVATE_PLACES = [Path(place) for place in Layout().node(1).private]


def remove_all(layout: Layout) -> None:
    """End every process, then remove namespaces, mounts, cgroups and files. The caller has checked the marker."""
    marks = json.loads(read(layout.marker) or "{}")
    keeping.keep(layout)
    end_processes(layout)
    for number in range(1, NODE_LIMIT + 1):
        network.remove(layout.node(number))
    unmount(layout.root)
    cgroups.remove()
    if marks.get("ip_forward", "1") != "1":
        network.FORWARDING.write_text(marks["ip_forward"])
    for place in reversed(marks.get("made_folders", [])):
        remove_place(Path(place))
    remove_files(layout)
    left = leftovers(layout)
    if left:
        raise Failed("something of the cluster is left; run `down` again, or look at:\n    " + "\n    ".join(left))


def remove_place(place: Path) -> None:
    """Remove a system folder that was not there before, unless somebody else uses it by now."""
    if place == network.NAMESPACES and place.is_dir() and not list(place.iterdir()):
        run(["umount", place], check=False)  # `ip netns` mounts this folder on itself and leaves that behind
    with contextlib.suppress(OSError):
        place.rmdir()


def end_processes(layout: Layout, seconds: float = 20.0) -> None:
    """Kill until nobody is left: while the kubelet or a shim still lives, it can start another process."""
    deadline = time.monotonic() + seconds
    while pids := ours(layout):
        processes.send(pids, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise Failed(f"these processes of the cluster do not end: {sorted(pids)}")
        time.sleep(0.1)


def ours(layout: Layout) -> set[int]:
    """Members of our cgroups, and what was started from the run folder; never this process."""
    found = cgroups.members() | set(processes.started_from(layout.root))
    return {pid for pid in found if processes.command_line(pid)} - {os.getpid()}


def mounts_below(root: Path, table: str) -> list[str]:
    """The mount points in a folder, the latest first, from the text of /proc/self/mounts."""
    points = [line.split()[1].replace("\\040", " ") for line in table.splitlines() if line.strip()]
    return [point for point in reversed(points) if point == str(root) or point.startswith(f"{root}/")]


def unmount(root: Path) -> None:
    for point in mounts_below(root, read(Path("/proc/self/mounts"))):
        run(["umount", "--lazy", point], check=False)


def remove_files(layout: Layout) -> None:
    if mounts_below(layout.root, read(Path("/proc/self/mounts"))):
        raise Failed(f"something is still mounted below {layout.root}; nothing was deleted there")
    if layout.root.exists():
        keep_marker_until_last = [entry for entry in layout.root.iterdir() if entry != layout.marker]
        for entry in keep_marker_until_last:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        shutil.rmtree(layout.root)


def leftovers(layout: Layout) -> list[str]:
    """Whatever of a cluster is still on the machine, a line each."""
    left = [f"process {pid}: {' '.join(processes.command_line(pid))[:100]}" for pid in sorted(ours(layout))]
    left += network.leftovers(layout, NODE_LIMIT)
    left += [f"mount {point}" for point in mounts_below(layout.root, read(Path("/proc/self/mounts")))]
    left += [f"cgroup {folder}" for folder in cgroups.leftovers()]
    return left + ([f"folder {layout.root}"] if layout.root.exists() else [])
