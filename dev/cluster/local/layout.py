"""Where a local cluster keeps things and which addresses it uses. Pure: nothing here touches the machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

RUN_FOLDER = Path("/var/lib/sdxl-operator-cluster")  # short: Unix socket paths end at 107 bytes
CONTEXT = "sdxl-operator-local"
CGROUP = "sdxl-operator"
NODE_RANGE = "10.200.0.0/24"
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
POD_RANGE = "10.244.0.0/16"
API_PORT = 6443
DNS_PORT = 1053
REGISTRY_PORT = 5000
NODE_LIMIT = 8  # of what one machine can be expected to carry
TOOLS_IMAGE = "localhost/sdxl-node-tools"


@dataclass(frozen=True)
class Layout:
    """The run folder of one cluster."""

    root: Path = RUN_FOLDER

    @property
    def marker(self) -> Path:
        """Exists in every folder that this tool made, and only there."""
        return self.root / "made-by-sdxl-operator-dev-cluster.json"

    @property
    def bin(self) -> Path:
        return self.root / "bin"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def pids(self) -> Path:
        return self.root / "pids"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def etcd(self) -> Path:
        return self.root / "etcd"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def volumes(self) -> Path:
        """Where the storage class keeps its volumes: one folder that every node sees."""
        return self.root / "volumes"

    @property
    def static(self) -> Path:
        """A place for volumes made by hand. What the host mounts below it appears in every node at the same path."""
        return self.root / "static"

    @property
    def image_hosts(self) -> Path:
        """containerd's folder of registry hosts: names that begin with localhost/ come from our registry."""
        return self.root / "image-hosts"

    def node(self, number: int) -> Node:
        return Node(number, self.root)


@dataclass(frozen=True)
class Node:
    """One node: names, addresses and folders follow from its number, which counts from 1."""

    number: int
    run: Path = RUN_FOLDER

    @property
    def name(self) -> str:
        return f"sdxl-node-{self.number}"

    @property
    def namespace(self) -> str:
        """The network namespace."""
        return self.name

    @property
    def host_link(self) -> str:
        return f"sdxlh{self.number}"

    @property
    def node_link(self) -> str:
        return f"sdxln{self.number}"

    @property
    def gateway(self) -> str:
        return f"10.200.0.{4 * self.number - 3}"

    @property
    def address(self) -> str:
        return f"10.200.0.{4 * self.number - 2}"

    @property
    def pods(self) -> str:
        return f"10.244.{self.number - 1}.0/24"

    @property
    def cgroup(self) -> str:
        """Kubelets on one machine share the cgroup tree and would clean up each other's pods without this."""
        return f"{CGROUP}/{self.name}"

    @property
    def folder(self) -> Path:
        return self.run / f"n{self.number}"

    @property
    def containerd_socket(self) -> Path:
        return self.folder / "containerd.sock"

    @property
    def ctr(self) -> tuple[str, ...]:
        """The command prefix that talks to containerd about the kubelet's images and containers."""
        return ("ctr", "--address", str(self.containerd_socket), "--namespace", "k8s.io")

    @property
    def device_plugins(self) -> Path:
        """The kubelet's device plugin folder, as the host sees it."""
        return self.folder / "private/kubelet/device-plugins"

    @property
    def private(self) -> dict[str, Path]:
        """System folders that this node must not share with the host or other nodes → what it sees there instead."""
        return {
            "/var/lib/kubelet": self.folder / "private/kubelet",
            "/var/lib/cni": self.folder / "private/cni",
            "/var/log/pods": self.folder / "private/pod-logs",
            "/var/log/containers": self.folder / "private/container-logs",
            "/run/containerd": self.folder / "private/run-containerd",
            "/run/netns": self.folder / "private/netns",
        }


def layout() -> Layout:
    """The layout in use; `SDXL_CLUSTER_FOLDER` moves it, for a machine whose /var/lib is small."""
    return Layout(Path(os.environ.get("SDXL_CLUSTER_FOLDER") or RUN_FOLDER))
