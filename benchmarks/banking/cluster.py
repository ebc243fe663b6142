"""The real cluster for the parts that need one: a namespace of their own, services, and load from a pod inside."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dev import images
from dev.cluster.provider import choose
from dev.demo.kubectl import Kubectl, install_chart
from dev.demo.watching import follow_until_ready

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
        """Wait until a service is ready; the seconds that took."""
        began = time.monotonic()
        follow_until_ready(self.kubectl, NAMESPACE, name, READY_SECONDS)
        return time.monotonic() - began

    def start_load(self, service: str, *options: str) -> None:
        """`sdxl-runtime bench` against a service, in a pod that ends when the load does."""
        arguments = [f"http://{service}.{NAMESPACE}.svc", "--json", "/tmp/result.json", *options]
        script = 'sdxl-runtime bench "$@" >&2; cat /tmp/result.json'
        container = {
            "name": "load",
            "image": self.runtime,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", script, "load", *arguments],
        }
        self.run("delete", "pod", "load", "--ignore-not-found", "--grace-period=0")
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "load"}}
        self.apply({**pod, "spec": {"restartPolicy": "Never", "containers": [container]}})
        wait(lambda: self.get("pod", "load")["status"].get("phase") == "Running", 120, "the load's pod runs")

    def load_result(self, seconds: float = 1800) -> Object:
        """What the load came to, once it has ended."""
        wait(
            lambda: self.get("pod", "load")["status"].get("phase") in ("Succeeded", "Failed"), seconds, "the load ends"
        )
        text = self.run("logs", "load")
        found: Object = json.loads(text[text.index("\n{") + 1 :] if not text.startswith("{") else text)
        return found


@contextmanager
def cluster() -> Iterator[Cluster]:
    """The cluster up, the chart installed, the namespace empty; it is removed at the end."""
    provider = choose()
    provider.up()
    built = images.build_and_load()
    kubectl = Kubectl(provider.kubeconfig)
    install_chart(kubectl, built)
    kubectl.run("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=180)
    kubectl.run("create", "namespace", NAMESPACE)
    try:
        yield Cluster(kubectl, built["runtime"])
    finally:
        kubectl.run("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=180)


def demo_service(name: str, **spec: Any) -> Object:
    """The demo's service under another name, with members of its spec replaced."""
    demo: Mapping[str, Any] = yaml.safe_load(DEMO.read_text())
    return {**demo, "metadata": {"name": name}, "spec": {**demo["spec"], **spec}}


def wait(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Look until something holds.

    Raises:
        RuntimeError: it does not in time.
    """
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise RuntimeError(f"not so after {seconds:.0f} s: {what}")
        time.sleep(0.5)
