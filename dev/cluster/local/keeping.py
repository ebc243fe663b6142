"""Keeping the first node's images in the cache from one cluster to the next: unpacking gigabytes takes a minute."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

from dev.cache import cache_root
from dev.cluster.local import cgroups, node, processes
from dev.cluster.local.layout import Layout, Node
from dev.shell import Failed, run, say

RECORDS = "io.containerd.grpc.v1.cri"  # what containerd remembers of pods; images are elsewhere


def kept() -> Path:
    return cache_root() / "node-images"


def store_of(first: Node) -> Path:
    return first.folder / "containerd"


def keep(layout: Layout) -> None:
    """Before a cluster goes: empty its containerd of containers and put what remains, the images, aside."""
    first = layout.node(1)
    if not node.containerd_answers(first):
        return  # a killed run: nobody can vouch for what is in the store
    try:
        _forget_containers(first, layout)
        _, containerd, *_ = node.known_daemons(first, layout)
        processes.stop(containerd, layout, seconds=10)
        shutil.rmtree(store_of(first) / RECORDS, ignore_errors=True)
        shutil.rmtree(kept(), ignore_errors=True)
        kept().parent.mkdir(parents=True, exist_ok=True)
        store_of(first).rename(kept())
    except (Failed, OSError) as reason:
        say(f"  the node's images are not kept: {reason}")


def restore(first: Node) -> None:
    """For a new cluster: start with the images of the last one."""
    if not store_of(first).exists() and kept().exists():
        first.folder.mkdir(parents=True, exist_ok=True)
        try:
            kept().rename(store_of(first))
        except OSError:  # the cache is on another file system
            shutil.rmtree(kept(), ignore_errors=True)


def _forget_containers(first: Node, layout: Layout) -> None:
    _, _, kubelet, proxy = node.known_daemons(first, layout)
    for daemon in (kubelet, proxy):
        processes.stop(daemon, layout, seconds=2)
    for pids in (processes.shims_of(first.containerd_socket), cgroups.node_members(first)):
        processes.send(pids, signal.SIGKILL)
    for _ in range(3):  # containerd itself still removes some of them meanwhile
        containers = run([*first.ctr, "containers", "list", "--quiet"], timeout=20).split()
        if not containers:
            return
        run([*first.ctr, "tasks", "delete", "--force", *containers], check=False, timeout=60)
        run([*first.ctr, "containers", "delete", *containers], check=False, timeout=60)
    raise Failed("containerd does not let go of its containers")
