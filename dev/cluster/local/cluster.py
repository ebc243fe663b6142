"""The local provider: `up`, `down`, `status` and `load`, made of the steps in the other modules."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.cache import cache_root, locked
from dev.cluster import programs
from dev.cluster.local import (
    archive,
    cgroups,
    cleanup,
    controlplane,
    keeping,
    loading,
    network,
    node,
    packages,
    pki,
    processes,
)
from dev.cluster.local.layout import NODE_LIMIT, Layout, Node, layout
from dev.shell import Failed, read, run, say, step, tail

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")


class LocalCluster:
    """A cluster in network namespaces of this machine."""

    name = "local"

    def __init__(self, where: Layout | None = None) -> None:
        self.layout = where or layout()

    @property
    def kubeconfig(self) -> Path:
        return self.layout.kubeconfig

    @property
    def nodes(self) -> list[Node]:
        """The nodes that the cluster was asked to have."""
        marks = json.loads(read(self.layout.marker) or "{}")
        return [self.layout.node(number) for number in range(1, int(marks.get("nodes", 0)) + 1)]

    def up(self, nodes: int | None = None) -> None:
        """Make the cluster, or complete and repair the one that is there. Nodes are added, never taken away."""
        packages.require_machine()
        if nodes is not None and not 1 <= nodes <= NODE_LIMIT:
            raise Failed(f"--nodes: between 1 and {NODE_LIMIT}")
        packages.ensure(packages.CLUSTER | packages.IMAGES)
        programs.ensure(programs.LOCAL_PROGRAMS)
        with self._alone():
            self._claim(max(nodes or 1, len(self.nodes)))
            if nodes and nodes < len(self.nodes):
                say(f"  the cluster has {len(self.nodes)} nodes and keeps them; `down` first for fewer")
            self._start()

    def _start(self) -> None:
        tag = archive.tools_tag()
        self._link_programs()
        with step("control plane"):
            pki.ensure(self.layout)
            network.ensure(self.layout.node(1))
            cgroups.prepare(self.layout.node(1))
            controlplane.write_configs(self.layout, tag)
            controlplane.start(self.layout)
        with step(f"{len(self.nodes)} node{'s'[: len(self.nodes) > 1]}"):
            self._share_static_folder()
            keeping.restore(self.layout.node(1))
            for each in self.nodes:
                node.start(each, self.layout, tag)
            self._wait_for_nodes()

    def down(self) -> None:
        """Remove everything but the cache. Does nothing where nothing is."""
        packages.require_machine()
        with self._alone():
            if not self.layout.root.exists() and not cleanup.leftovers(self.layout):
                say("  no local cluster is here")
                return
            self._require_ours()
            with step("removing the local cluster"):
                cleanup.remove_all(self.layout)

    def load(self, references: list[str]) -> None:
        """Bring images from the local build store to every node."""
        packages.require_machine()
        if not controlplane.registry_ready(self.layout):
            raise Failed("the local cluster does not run: python -m dev.cluster up")
        with self._alone():
            loading.load(references, self.nodes, self.layout)

    def status(self) -> bool:
        """Tell what runs and what does not. True where the cluster is whole."""
        if not self.nodes:
            say("no local cluster is here; make one with: python -m dev.cluster up")
            return False
        whole = True
        for daemon in self._daemons():
            pid = processes.pid_of(daemon, self.layout)
            whole &= pid is not None
            print(f"  {daemon.name:32} {f'pid {pid}' if pid else 'DEAD'}   {daemon.log(self.layout)}")
        if not controlplane.api_ready(self.layout):
            print("  the API server does not answer; repair with: python -m dev.cluster up")
            return False
        ready = controlplane.nodes(self.layout)
        for each in self.nodes:
            whole &= ready.get(each.name, False)
            print(f"  node {each.name:27} {'Ready' if ready.get(each.name) else 'NOT READY'}   pods {each.pods}")
        print(f"  images: {', '.join(loading.in_registry(self.layout)) or 'none'}\n  kubeconfig: {self.kubeconfig}")
        return whole

    def stop_node(self, number: int) -> None:
        """A node fails: its processes and pods end at once, and nobody tells the API server."""
        with self._alone():
            node.stop(self._existing(number), self.layout)

    def start_node(self, number: int) -> None:
        """A failed node comes back."""
        with self._alone():
            node.start(self._existing(number), self.layout, archive.tools_tag())
            self._wait_for_nodes()

    def kill_in_pod(self, uid: str, argument: str) -> int:
        """End without a warning what runs in a pod with this word among its arguments; says how many processes."""
        found = [pid for pid in cgroups.pod_members(uid) if argument in processes.command_line(pid)]
        processes.send(found, signal.SIGKILL)
        return len(found)

    def restart_kubelet(self, number: int) -> None:
        """A node's kubelet starts anew, as after its upgrade; pods go on."""
        with self._alone():
            node.stop_kubelet(self._existing(number), self.layout)
            node.start(self._existing(number), self.layout, archive.tools_tag())
            self._wait_for_nodes()

    def remove_node(self, number: int) -> None:
        """Take the last node away for good."""
        with self._alone():
            if number != len(self.nodes) or number == 1:
                raise Failed("only the last of several nodes can be removed")
            node.remove(self._existing(number), self.layout)
            self._mark(nodes=number - 1)

    def _existing(self, number: int) -> Node:
        if not 1 <= number <= len(self.nodes):
            raise Failed(f"the cluster has no node {number}; it has {len(self.nodes)}")
        return self.layout.node(number)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with locked("local-cluster"):
            yield

    def _claim(self, nodes: int) -> None:
        """Write the marker before anything else is made; refuse what is not ours."""
        self._require_ours()
        self.layout.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not self.layout.marker.exists():
            made = [str(place) for place in cleanup.PRIVATE_PLACES if not place.exists()]
            self._mark(ip_forward=network.FORWARDING.read_text().strip(), made_folders=made)
        self._mark(nodes=nodes)
        network.forward_between_nodes()
        for place in cleanup.PRIVATE_PLACES:
            place.mkdir(parents=True, exist_ok=True)

    def _mark(self, **changes: object) -> None:
        marks = json.loads(read(self.layout.marker) or "{}") | changes
        new = self.layout.marker.with_suffix(".new")
        new.write_text(json.dumps(marks, indent=1))
        new.rename(self.layout.marker)

    def _require_ours(self) -> None:
        root = self.layout.root
        if self.layout.marker.exists() or (root.exists() and not [e for e in root.iterdir() if e.suffix != ".new"]):
            return
        if root.exists():
            raise Failed(f"{root} holds files but no {self.layout.marker.name}: this tool did not make it")
        foreign = [each.namespace for each in map(self.layout.node, range(1, NODE_LIMIT + 1)) if network.exists(each)]
        if foreign:
            raise Failed(f"there are network namespaces {', '.join(foreign)} but no {root}: another cluster's?")

    def _link_programs(self) -> None:
        self.layout.bin.mkdir(exist_ok=True)
        targets = {program.name: program.target for program in programs.LOCAL_PROGRAMS}
        targets |= dict.fromkeys(COMPONENTS, programs.HYPERKUBE.target)
        for name, target in targets.items():
            link, new = self.layout.bin / name, self.layout.bin / f".{name}"
            new.unlink(missing_ok=True)
            new.symlink_to(target)
            new.rename(link)

    def _share_static_folder(self) -> None:
        """One folder whose mounts reach the nodes although their mount namespaces are their own."""
        static = self.layout.static
        for folder in (static, self.layout.volumes / "shared", self.layout.volumes / "node", cache_root() / "registry"):
            folder.mkdir(parents=True, exist_ok=True)
        if not cleanup.mounts_below(static, read(Path("/proc/self/mounts"))):
            run(["mount", "--bind", static, static])
        run(["mount", "--make-shared", static])

    def _wait_for_nodes(self, seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        wanted = {each.name for each in self.nodes}
        while not wanted <= {name for name, ready in controlplane.nodes(self.layout).items() if ready}:
            self._fail_on_dead_daemon()
            if time.monotonic() > deadline:
                log = self.layout.logs / f"{self.nodes[-1].name}-kubelet.log"
                words = f"The kubelet's last words:\n{tail(read(log))}\nThe whole log: {log}"
                raise Failed(f"a node is not Ready after {seconds:.0f} s. {words}")
            time.sleep(0.3)
        account = ("get", "serviceaccount", "default", "--ignore-not-found", "-o", "name")
        while not controlplane.kubectl(self.layout, *account).strip() and time.monotonic() < deadline:
            time.sleep(0.2)

    def _fail_on_dead_daemon(self) -> None:
        for daemon in self._daemons():
            if not processes.is_running(daemon, self.layout):
                log = daemon.log(self.layout)
                raise Failed(f"{daemon.name} has ended. Its last words:\n{tail(read(log))}\nThe whole log: {log}")

    def _daemons(self) -> list[processes.Daemon]:
        return [
            *controlplane.daemons(self.layout),
            *(daemon for each in self.nodes for daemon in node.known_daemons(each, self.layout)),
        ]
