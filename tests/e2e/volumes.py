"""Volumes as tests look at them, damage them and fill them."""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dev.cluster.local.cluster import LocalCluster
from dev.cluster.provider import choose
from tests.e2e.world import Namespace, Object


def claim(name: str, storage: str = "100Mi", **spec: object) -> Object:
    """A claim of the default storage class, where `spec` names no other."""
    asked = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": storage}}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {**asked, **spec},
    }


def on_claim(namespace: Namespace, image: str, name: str, code: str) -> str:
    """Run Python in a pod that has a claim at /volume, as the user that everything of the runtime is; what it said."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", code],
        "volumeMounts": [{"name": "volume", "mountPath": "/volume"}],
        "securityContext": {"runAsUser": 1000},
    }
    volume = {"name": "volume", "persistentVolumeClaim": {"claimName": name}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "on-claim"}}
    namespace.run("delete", "pod", "on-claim", "--ignore-not-found", "--grace-period=0")
    namespace.apply({**pod, "spec": {"restartPolicy": "Never", "containers": [container], "volumes": [volume]}})
    ended = namespace.wait(
        lambda: namespace.get("pod", "on-claim")["status"].get("phase"), lambda it: it in ("Succeeded", "Failed"), 60
    )
    said = namespace.run("logs", "on-claim")
    namespace.run("delete", "pod", "on-claim", "--grace-period=0", "--wait=false")
    assert ended == "Succeeded", said
    return said


@contextmanager
def small_volume(namespace: Namespace, name: str, size: str) -> Iterator[Path]:
    """A tmpfs of this size as a PersistentVolume with its claim, both of this name; yields the folder it is mounted on.

    It is enlarged with `resize`.
    """
    cluster = choose()
    if not isinstance(cluster, LocalCluster):
        pytest.skip("a small tmpfs can be mounted only where the node sees this machine's folders")
    folder = cluster.layout.static / f"e2e-{name}-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", folder], check=True)
    volume: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"e2e-{name}"},
        "spec": {
            "capacity": {"storage": "1Mi"},
            "accessModes": ["ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": f"e2e-{name}",
            "hostPath": {"path": str(folder)},
        },
    }
    try:
        namespace.kubectl.run("delete", "pv", f"e2e-{name}", "--ignore-not-found")
        namespace.apply(volume, claim(name, "1Mi", storageClassName=f"e2e-{name}"))
        yield folder
    finally:
        namespace.run("delete", "pvc", name, "--ignore-not-found", "--wait=false")
        namespace.kubectl.run("delete", "pv", f"e2e-{name}", "--ignore-not-found", "--wait=false")
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


def resize(folder: Path, size: str) -> None:
    """Give a small volume another size."""
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)
