"""The real cluster for the parts that need one: a namespace of their own, and services in it."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from dev import images
from dev.cluster.provider import choose
from dev.demo.kubectl import Kubectl, install_chart
from dev.demo.watching import follow_until_ready
from dev.load import Load

NAMESPACE = "sdxl-bench"
READY_SECONDS = 1800
DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.yaml"

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster with this chart and these images."""

    kubectl: Kubectl
    runtime: str
    """The runtime's image."""

    def run(self, *words: str, **options: Any) -> str:
        """kubectl in the namespace."""
        return self.kubectl.run("-n", NAMESPACE, *words, **options)

    def get(self, *words: str) -> Object:
        """An object, empty if there is none."""
        return self.kubectl.get("-n", NAMESPACE, *words)

    def apply(self, *objects: Object) -> None:
        """`kubectl apply`."""
        self.run("apply", "-f", "-", text_in=yaml.safe_dump_all(objects))

    def ready(self, name: str) -> float:
        """Wait until the service's current generation is ready; the seconds that took."""
        began = time.monotonic()
        follow_until_ready(self.kubectl, NAMESPACE, name, READY_SECONDS)
        return time.monotonic() - began

    def load(self, service: str, *options: str) -> Load:
        """`sdxl-runtime bench` against a service from a pod in the cluster, begun."""
        load = Load(self.kubectl, NAMESPACE, self.runtime)
        load.start(f"http://{service}.{NAMESPACE}.svc", *options)
        return load

    def replicas(self, service: str) -> list[Object]:
        """A service's pods that are not on their way out."""
        labels = f"sdxl.dev/service={service},app.kubernetes.io/component=server"
        pods: list[Object] = self.get("pods", "-l", labels).get("items", [])
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


@contextmanager
def cluster() -> Iterator[Cluster]:
    """The cluster up, the chart installed, the namespace empty; it is removed at the end."""
    provider = choose()
    provider.up()
    built = images.build_and_load()
    kubectl = Kubectl(provider.kubeconfig)
    install_chart(kubectl, built)
    kubectl.run("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=300)
    kubectl.run("create", "namespace", NAMESPACE)
    try:
        yield Cluster(kubectl, built["runtime"])
    finally:
        kubectl.run("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=300)


def demo_service(name: str, **spec: Any) -> Object:
    """The demo's service under another name, with members of its spec replaced."""
    demo: Mapping[str, Any] = yaml.safe_load(DEMO.read_text())
    return {**demo, "metadata": {"name": name}, "spec": {**demo["spec"], **spec}}


def labelled(name: str, label: str, **spec: Any) -> Object:
    """The demo's service with a label on its pods: another label replaces them."""
    server = {**demo_service(name)["spec"].get("server", {}), "labels": {"edited": label}}
    return demo_service(name, **{**spec, "server": server})


def start_seconds(pod: Object) -> float:
    """From when a pod was made until it was ready, in Kubernetes' own whole seconds."""
    ready = next(item for item in pod["status"]["conditions"] if item["type"] == "Ready")
    made, became = pod["metadata"]["creationTimestamp"], ready["lastTransitionTime"]
    return (datetime.fromisoformat(became) - datetime.fromisoformat(made)).total_seconds()
