"""What tests do to services in a namespace of the real cluster."""

import base64
import io
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from PIL import Image

from dev.demo.kubectl import SYSTEM_NAMESPACE, Kubectl
from dev.demo.watching import condition, is_ready, status_line

ROOT = Path(__file__).resolve().parents[2]
CHART_SETTINGS = ("settings.retentionGraceSeconds=5",)
"""What the chart is installed with: a small grace, so that what waits for it can be tested."""
OPERATOR_POD = "app.kubernetes.io/name=sdxl-operator"
CLIENT = (Path(__file__).parent / "client_pod.py").read_text()

Object = dict[str, Any]
T = TypeVar("T")


class Namespace:
    """One namespace of the cluster, and the verbs that tests use in it."""

    def __init__(self, kubectl: Kubectl, name: str) -> None:
        self.kubectl, self.name = kubectl, name

    def run(self, *words: str, **options: Any) -> str:
        """kubectl in this namespace."""
        return self.kubectl.run("-n", self.name, *words, **options)

    def apply(self, *objects: Object, check: bool = True) -> str:
        """`kubectl apply` of objects given as Python values."""
        return self.run("apply", "-f", "-", text_in=yaml.safe_dump_all(objects), check=check)

    def get(self, *words: str) -> Object:
        """An object, empty if there is none."""
        return self.kubectl.get("-n", self.name, *words)

    def items(self, *words: str) -> list[Object]:
        """The objects of a list."""
        return list(self.get(*words).get("items", []))

    def service(self, name: str = "studio") -> Object:
        """An SDXLService."""
        return self.get("sdxlservice", name)

    def wait_ready(self, name: str = "studio", seconds: float = 300) -> Object:
        """Wait until the current generation is ready."""
        return self.wait(lambda: self.service(name), is_ready, seconds, lambda item: status_line(item))

    def wait_reason(self, reason: str, name: str = "studio", seconds: float = 120) -> Object:
        """Wait until Ready says a reason, and give the condition."""
        found = self.wait(
            lambda: self.service(name), lambda item: condition(item).get("reason") == reason, seconds, status_line
        )
        return condition(found)

    def ask(self, image: str, url: str, *bodies: Mapping[str, Any] | str, name: str = "client") -> list[Object]:
        """Send requests from a pod in this namespace, by the Service's DNS name; gives `client_pod`'s lines."""
        texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
        container = {
            "name": "client",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python3", "-c", CLIENT, url, *texts],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}}
        self.run("delete", "pod", name, "--ignore-not-found", "--grace-period=0")
        self.apply({**pod, "spec": {"restartPolicy": "Never", "containers": [container]}})
        ended = self.wait(
            lambda: self.get("pod", name).get("status", {}).get("phase"), lambda it: it in ("Succeeded", "Failed"), 180
        )
        log = self.run("logs", name)
        assert ended == "Succeeded", log[-2000:]
        return [json.loads(line) for line in log.splitlines()]

    @staticmethod
    def wait(look: Callable[[], T], good: Callable[[T], bool], seconds: float, say: Callable[[T], str] = str) -> T:
        """Look until it is good; the failure shows what was seen last."""
        end = time.monotonic() + seconds
        while True:
            seen = look()
            if good(seen):
                return seen
            if time.monotonic() > end:
                pytest.fail(f"not so after {seconds:.0f} s; last: {say(seen)}")
            time.sleep(0.5)


def simulated_service(name: str = "studio", **spec: Any) -> Object:
    """A service on the simulated accelerator, whose Jobs and starts take seconds; `spec` members are merged in."""
    return service(
        name,
        {
            "model": {"source": "demo://shapes", "variant": "fp16"},
            "accelerator": {"profile": "simulated"},
            "compile": {"mode": "AheadOfTime"},
            "buckets": [{"width": 128, "height": 128}],
            "tuneBank": {"volume": {"size": "100Mi"}},
            "rollout": {"drainTimeoutSeconds": 10},
            "server": {"requestTimeoutSeconds": 10},
        },
        spec,
    )


def cpu_service(name: str = "studio", **spec: Any) -> Object:
    """A service that draws the demo model's pictures on the CPU; `spec` members are merged in."""
    demo = yaml.safe_load((ROOT / "examples" / "demo.yaml").read_text())
    return service(name, demo["spec"], spec)


def service(name: str, base: Object, changes: Object) -> Object:
    """An SDXLService from a spec and changes to it."""
    return {
        "apiVersion": "sdxl.dev/v1alpha1",
        "kind": "SDXLService",
        "metadata": {"name": name},
        "spec": merged(base, changes),
    }


def merged(base: Object, changes: Object) -> Object:
    """A JSON merge patch: objects merge, None removes, everything else is replaced."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return {key: value for key, value in result.items() if value is not None}


def versions(kubectl: Kubectl, namespace: str) -> dict[str, str]:
    """The resourceVersion of every object that a service has to do with, Leases and Events apart."""
    kinds = (
        "sdxlservices,sdxlmodels,sdxltunebanks,deployments,replicasets,pods,services,jobs,configmaps,"
        "persistentvolumeclaims,controllerrevisions,poddisruptionbudgets,endpointslices"
    )
    found = json.loads(kubectl.run("get", kinds, "-n", namespace, "-o", "json"))["items"]
    found += json.loads(kubectl.run("get", "acceleratorprofiles,crds", "-o", "json"))["items"]
    return {f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"] for item in found}


def kill_operator(kubectl: Kubectl) -> None:
    """End the operator without a warning; its Deployment starts another."""
    kubectl.run(
        "delete", "pod", "-n", SYSTEM_NAMESPACE, "-l", OPERATOR_POD, "--grace-period=0", "--force", "--wait=false"
    )


def pictures(answer: Object) -> list[Image.Image]:
    """The pictures in an answer."""
    assert answer["status"] == 200, answer
    return [
        Image.open(io.BytesIO(base64.b64decode(item["b64_json"]))).convert("RGB") for item in answer["body"]["data"]
    ]
