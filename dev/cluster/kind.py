"""kind, where a Docker engine answers. Tested as configuration only: no Docker engine was at hand."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from dev.cache import cache_root
from dev.cluster import programs
from dev.shell import Failed, run, say, step

CLUSTER = "sdxl-operator"
NODE_FOLDER = "/var/lib/sdxl-operator-cluster"


class KindCluster:
    """A kind cluster whose default storage class shares a folder over its nodes."""

    name = "kind"

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_root() / "kind"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def marker(self) -> Path:
        return self.folder / "made-by-sdxl-operator-dev-cluster"

    def up(self, nodes: int | None = None) -> None:
        if self._exists():
            self._require_ours()
            present = len(self._kind("get", "nodes", "--name", CLUSTER).split())
            if nodes is not None and nodes != present:
                say(f"  the kind cluster has {present} nodes and keeps them; `down` first for another number")
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.marker.touch()
            with step("kind create cluster"):
                argv = ["create", "cluster", "--name", CLUSTER, "--config", "-", "--wait", "180s"]
                config = json.dumps(cluster_config(nodes or 1, self.folder))
                self._kind(*argv, "--kubeconfig", str(self.kubeconfig), text_in=config)
        self._kind("export", "kubeconfig", "--name", CLUSTER, "--kubeconfig", str(self.kubeconfig))
        with step("storage shared over the nodes"):
            self._in_control_plane("apply", "-f", "-", text_in=json.dumps(storage_config()))
            restart = ["rollout", "restart", "deployment/local-path-provisioner"]
            self._in_control_plane("--namespace", "local-path-storage", *restart)

    def down(self) -> None:
        if self._exists():
            self._require_ours()
            with step("kind delete cluster"):
                self._kind("delete", "cluster", "--name", CLUSTER, "--kubeconfig", str(self.kubeconfig))
        if self.marker.exists():
            shutil.rmtree(self.folder)

    def load(self, references: list[str]) -> None:
        for reference in references:
            with step(f"load {reference}"):
                self._kind("load", "docker-image", reference, "--name", CLUSTER)

    def status(self) -> bool:
        if not self._exists():
            say("no kind cluster of ours is here; make one with: python -m dev.cluster up")
            return False
        print(self._in_control_plane("get", "nodes", "-o", "wide"), end="")
        print(f"  kubeconfig: {self.kubeconfig}")
        return True

    def _exists(self) -> bool:
        return CLUSTER in self._kind("get", "clusters").split()

    def _require_ours(self) -> None:
        if not self.marker.exists():
            raise Failed(f"a kind cluster {CLUSTER!r} exists that this tool did not make; delete or rename it")

    def _kind(self, *words: str, text_in: str | None = None) -> str:
        program = shutil.which("kind")
        if program is None:
            programs.ensure([programs.KIND])
            program = str(programs.KIND.target)
        return run([program, *words], text_in=text_in, env={**os.environ, "KIND_EXPERIMENTAL_PROVIDER": "docker"})

    def _in_control_plane(self, *words: str, text_in: str | None = None) -> str:
        """kubectl of the node image, so that the machine needs none."""
        inside = ["kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", *words]
        return run(["docker", "exec", "--interactive", f"{CLUSTER}-control-plane", *inside], text_in=text_in)


def cluster_config(nodes: int, folder: Path) -> dict[str, Any]:
    """One control plane that also takes pods, further workers, and one host folder in all of them."""
    mounts = [{"hostPath": str(folder / "volumes"), "containerPath": f"{NODE_FOLDER}/volumes"}]
    roles = ["control-plane", *(["worker"] * (nodes - 1))]
    untainted = "kind: InitConfiguration\nnodeRegistration:\n  taints: []\n"
    each: list[dict[str, Any]] = [{"role": role, "extraMounts": mounts} for role in roles]
    each[0]["kubeadmConfigPatches"] = [untainted]
    return {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "name": CLUSTER, "nodes": each}


def storage_config() -> dict[str, Any]:
    """kind's own provisioner, told to keep volumes where all nodes see them: then it takes ReadWriteMany."""
    config = {"sharedFileSystemPath": f"{NODE_FOLDER}/volumes"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "local-path-config", "namespace": "local-path-storage"},
        "data": {
            "config.json": json.dumps(config),
            "setup": '#!/bin/sh\nset -eu\nmkdir -m 0777 -p "$VOL_DIR"\n',
            "teardown": '#!/bin/sh\nset -eu\nrm -rf "$VOL_DIR"\n',
            "helperPod.yaml": json.dumps(_helper_pod()),
        },
    }


def _helper_pod() -> dict[str, Any]:
    container = {
        "name": "helper-pod",
        "image": "docker.io/kindest/local-path-helper:v20241212-8ac705d0",
        "imagePullPolicy": "IfNotPresent",
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "helper-pod"}, "spec": {"containers": [container]}}
