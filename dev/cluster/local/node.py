"""One node: its namespaces, containerd, kubelet and kube-proxy."""

from __future__ import annotations

import shlex
import shutil

from dev.cluster.local import archive, cgroups, configs, controlplane, network, pki, processes
from dev.cluster.local.layout import POD_RANGE, Layout, Node
from dev.cluster.local.processes import Daemon
from dev.shell import succeeds


def holder(node: Node, layout: Layout) -> Daemon:
    """The process that keeps the node's mount namespace. In it, the node has system folders of its own."""
    lines = ["set -e"]
    for seen, own in node.private.items():
        lines.append(f"mount --bind {shlex.quote(str(own))} {shlex.quote(seen)}")
    lines += ["mount --make-rshared /", 'exec "$0" "$@"']
    # slave: mounts made below the host's shared folders arrive here, and none of ours goes back
    unshare = ("unshare", "--mount", "--propagation", "slave", "sh", "-c", "\n".join(lines))
    argv = (str(layout.bin / "node-tools"), "hold", node.name)
    return Daemon(f"{node.name}-namespaces", argv, (*network.enter(node), *unshare))


def daemons(node: Node, layout: Layout, holder_pid: int) -> list[Daemon]:
    """In the order in which they are started."""
    enter = (*network.enter(node), f"--mount=/proc/{holder_pid}/ns/mnt")
    files = layout.config
    containerd = ("/usr/bin/containerd", "-c", f"{node.folder}/containerd.toml")
    kubelet = (
        f"{layout.bin}/kubelet",
        f"--config={files}/{node.name}-kubelet.json",
        f"--kubeconfig={files}/{node.name}.kubeconfig",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
        "--v=2",
    )
    proxy = (
        f"{layout.bin}/kube-proxy",
        f"--kubeconfig={files}/proxy.kubeconfig",
        f"--cluster-cidr={POD_RANGE}",
        f"--hostname-override={node.name}",
        "--conntrack-max-per-core=0",
    )
    named = {"containerd": containerd, "kubelet": kubelet, "kube-proxy": proxy}
    return [Daemon(f"{node.name}-{name}", argv, enter) for name, argv in named.items()]


def known_daemons(node: Node, layout: Layout) -> list[Daemon]:
    """All of a node's daemons, to look at or to stop."""
    return [holder(node, layout), *daemons(node, layout, holder_pid=0)]


def write_configs(node: Node, layout: Layout, tools_tag: str) -> None:
    for folder in node.private.values():
        folder.mkdir(parents=True, exist_ok=True)
    node.device_plugins.mkdir(exist_ok=True)
    files = {
        node.folder / "containerd.toml": configs.containerd(node, layout, tools_tag),
        node.folder / "cni" / "10-pods.conflist": configs.pod_network(node),
        layout.config / f"{node.name}-kubelet.json": configs.kubelet(node, layout),
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def start(node: Node, layout: Layout, tools_tag: str) -> None:
    """Start what does not run of a node, and wait until containerd answers. Readiness is waited for by the caller."""
    pki.ensure_node(layout, node)
    network.ensure(node)
    cgroups.prepare(node)
    write_configs(node, layout, tools_tag)
    hold = holder(node, layout)
    if not processes.is_running(hold, layout):
        stop(node, layout)  # without its holder, nobody can enter any more where a node's other processes are
        processes.start(hold, layout)
        processes.wait_until(lambda: handed_over(hold, layout), hold, layout, 10, "made no namespaces")
    pid = processes.pid_of(hold, layout)
    assert pid is not None, "wait_until has just seen it"
    containerd, *rest = daemons(node, layout, pid)
    processes.start(containerd, layout)
    processes.wait_until(lambda: containerd_answers(node), containerd, layout, 30, "did not answer")
    archive.ensure_loaded(node, layout, tools_tag)
    for daemon in rest:
        processes.start(daemon, layout)


def handed_over(hold: Daemon, layout: Layout) -> bool:
    """The holder's own program runs, so the mounts before it are made."""
    pid = processes.pid_of(hold, layout)
    return pid is not None and processes.command_line(pid) == hold.argv


def containerd_answers(node: Node) -> bool:
    return succeeds([*node.ctr, "version"], timeout=5)


def stop(node: Node, layout: Layout) -> None:
    """Stop a node as a power cut would: its daemons and all that runs in its pods. Its files stay."""
    for daemon in reversed(known_daemons(node, layout)):
        processes.stop(daemon, layout, seconds=2)
    processes.end(processes.shims_of(node.containerd_socket), seconds=0.2)
    processes.end(cgroups.node_members(node), seconds=0.2)


def stop_kubelet(node: Node, layout: Layout) -> None:
    """Stop the kubelet alone: what runs in pods goes on."""
    kubelet = next(daemon for daemon in daemons(node, layout, holder_pid=0) if daemon.name.endswith("-kubelet"))
    processes.stop(kubelet, layout)


def remove(node: Node, layout: Layout) -> None:
    """Stop a node, forget it and delete its files."""
    stop(node, layout)
    controlplane.kubectl(layout, "delete", "node", node.name, "--ignore-not-found")
    network.remove(node)
    cgroups.remove(node.cgroup)
    shutil.rmtree(node.folder)
