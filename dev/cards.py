"""`python -m dev.cards up | mark | down`: simulated Ascend cards for every node of the chosen cluster.

A DaemonSet for each node runs a device plugin, as MindCluster's does, and the node gets the labels that MindCluster
sets. The kubelet, the scheduler and the pods are real; that there is a card is simulated.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dev import engine
from dev.cluster import programs
from dev.cluster.local import archive
from dev.cluster.provider import choose
from dev.demo.kubectl import Kubectl
from dev.shell import Failed, say, step

NAMESPACE = "simulated-ascend"
RESOURCE = "huawei.com/Ascend910"
FAMILY_LABEL, FAMILY = "accelerator", "huawei-Ascend910"
CHIP_LABEL = "node.kubernetes.io/npu.chip.name"
DRIVER_LABEL = "huawei.com/driver.version"
STATE = "/var/lib/kubelet/simulated-ascend"
"""On the node: the kubelet's folder is each node's own, also where nodes share a machine."""

Object = dict[str, Any]


@dataclass(frozen=True)
class NodeCards:
    """The cards of one node, all alike."""

    node: str
    cards: int = 1
    chip: str = "910B3"
    driver: str = "25.5.0"

    @property
    def labels(self) -> dict[str, str]:
        """What MindCluster writes on the node."""
        return {FAMILY_LABEL: FAMILY, CHIP_LABEL: self.chip, DRIVER_LABEL: self.driver}


class SimulatedCards:
    """The cards of a cluster."""

    def __init__(self, kubectl: Kubectl, image: str) -> None:
        self.kubectl, self.image = kubectl, image

    def install(self, *nodes: NodeCards, seconds: float = 60) -> None:
        """Give each of these nodes its cards, whatever it had, and wait until the kubelet offers them."""
        self.kubectl.ensure_namespace(NAMESPACE)
        items = [daemon_set(each, self.image) for each in nodes]
        self.kubectl.run("apply", "-f", "-", text_in=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        for each in nodes:
            self.label(each)
            self.kubectl.run(
                "-n", NAMESPACE, "rollout", "status", f"daemonset/{each.node}", f"--timeout={seconds:.0f}s"
            )
            self.wait_for(each.node, each.cards, seconds)

    def label(self, cards: NodeCards) -> None:
        """Write the node's labels."""
        words = [f"{name}={value}" for name, value in cards.labels.items()]
        self.kubectl.run("label", "node", cards.node, "--overwrite", *words)

    def wait_for(self, node: str, cards: int, seconds: float = 30) -> None:
        """Wait until the node offers so many healthy cards."""
        end = time.monotonic() + seconds
        while (found := self.offered(node)) != cards:
            if time.monotonic() > end:
                raise Failed(f"node {node} offers {found} cards, not {cards}, after {seconds:.0f} s")
            time.sleep(0.3)

    def offered(self, node: str) -> int:
        """How many healthy cards the node offers, given out or not."""
        return int(self.kubectl.get("node", node)["status"]["allocatable"].get(RESOURCE, 0))

    def mark(self, node: str, numbers: Sequence[int], healthy: bool) -> None:
        """Say of some cards of a node that they are well, or not."""
        names = [f"{RESOURCE.partition('/')[2]}-{number}" for number in numbers]
        words = ["/simulated-cards", "mark", *names, "healthy" if healthy else "unhealthy"]
        self.kubectl.run("-n", NAMESPACE, "exec", f"daemonset/{node}", "--", *words)

    def remove(self, *nodes: str) -> None:
        """Take the cards of these nodes away, or of all; pods that have one keep it."""
        labelled = self.kubectl.run("get", "nodes", "-l", FAMILY_LABEL, "-o", "name").split()
        gone = nodes or [name.partition("/")[2] for name in labelled]
        for node in gone:
            self.kubectl.run("-n", NAMESPACE, "delete", "daemonset", node, "--ignore-not-found")
            self.kubectl.run("label", "node", node, *(f"{label}-" for label in NodeCards(node).labels), check=False)
        if not nodes:
            self.kubectl.run("delete", "namespace", NAMESPACE, "--ignore-not-found")


def daemon_set(cards: NodeCards, image: str) -> Object:
    """The device plugin of one node."""
    name = {"app.kubernetes.io/name": "simulated-cards", "simulated-cards/node": cards.node}
    told = {"CARDS": cards.cards, "CHIP": cards.chip, "DRIVER": cards.driver, "RESOURCE": RESOURCE, "HOST_STATE": STATE}
    folders = {"plugins": "/var/lib/kubelet/device-plugins", "state": STATE}
    mounts = [{"name": "plugins", "mountPath": folders["plugins"]}, {"name": "state", "mountPath": "/state"}]
    container: Object = {
        "name": "plugin",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["plugin"],
        "env": [{"name": key, "value": str(value)} for key, value in told.items()],
        "securityContext": {"privileged": True, "runAsUser": 0},
        "volumeMounts": mounts,
    }
    pod: Object = {
        "nodeSelector": {"kubernetes.io/hostname": cards.node},
        "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [
            {"name": key, "hostPath": {"path": path, "type": "DirectoryOrCreate"}} for key, path in folders.items()
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": cards.node, "namespace": NAMESPACE, "labels": name},
        "spec": {"selector": {"matchLabels": name}, "template": {"metadata": {"labels": name}, "spec": pod}},
    }


def build_and_load() -> str:
    """The plugin's image, on every node of the chosen cluster; its name changes with the program."""
    program = programs.SIMULATED_CARDS
    programs.ensure([program])
    reference = f"localhost/simulated-cards:{program.target.name.rpartition('-')[2]}"
    if not engine.image_exists(reference):
        with TemporaryDirectory() as folder:
            file = Path(folder) / "image.tar"
            file.write_bytes(archive.archive(program.target, reference, "simulated-cards", "plugin"))
            engine.keep(file)
    choose().load([reference])
    return reference


def main(words: Sequence[str] | None = None) -> int:
    """The command line."""
    options = _parser().parse_args(words)
    try:
        kubectl = Kubectl(choose().kubeconfig)
        if options.command == "up":
            names = [item["metadata"]["name"] for item in kubectl.get("nodes")["items"]]
            cards = SimulatedCards(kubectl, build_and_load())
            with step(f"{options.per_node} simulated cards on each of {len(names)} nodes"):
                cards.install(*(NodeCards(name, options.per_node, options.chip, options.driver) for name in names))
            say(f"  they are {RESOURCE}; the profile ascend-910b places pods there")
        elif options.command == "mark":
            SimulatedCards(kubectl, "").mark(options.node, options.cards, options.health == "healthy")
        else:
            SimulatedCards(kubectl, "").remove()
    except Failed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m dev.cards", description="Simulated Ascend cards for a cluster.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="give every node its cards")
    up.add_argument("--per-node", type=int, default=2, metavar="N", help="cards of a node (2)")
    up.add_argument("--chip", default="910B3", help="the chip they claim to be (910B3)")
    up.add_argument("--driver", default="25.5.0", help="the driver they claim to have (25.5.0)")
    mark = commands.add_parser("mark", help="make cards of a node sick, or well again")
    mark.add_argument("health", choices=["healthy", "unhealthy"])
    mark.add_argument("node")
    mark.add_argument("cards", nargs="+", type=int, metavar="NUMBER")
    commands.add_parser("down", help="take all cards away")
    return top


if __name__ == "__main__":
    sys.exit(main())
