"""Services whose replicas hold a simulated card."""

import json
from typing import Any

from dev.demo.kubectl import Kubectl
from tests.e2e.world import Namespace, Object, simulated_service

PROFILE = "simulated-ascend"
CARDS = 2
"""On the node."""


def profile(kubectl: Kubectl) -> str:
    """The chart's profile ascend-910b with the simulated device: what places pods is exactly what is shipped."""
    shipped = kubectl.get("acceleratorprofile", "ascend-910b")
    simulated = kubectl.get("acceleratorprofile", "simulated")["spec"]
    spec = {**shipped["spec"], **{name: simulated[name] for name in ("backend", "image", "startupBudgetSeconds")}}
    named = {"apiVersion": shipped["apiVersion"], "kind": shipped["kind"], "metadata": {"name": PROFILE}}
    return json.dumps({**named, "spec": spec})


def service_on_cards(name: str = "studio", **spec: Any) -> Object:
    """A service of the simulated device, a card for each replica; eager, so that nothing else asks for a card."""
    return simulated_service(name, accelerator={"profile": PROFILE}, compile={"mode": "Eager"}, **spec)


def replicas(namespace: Namespace, name: str = "studio") -> list[Object]:
    """The pods of a service that are not on their way out."""
    pods = namespace.items("pods", "-l", f"sdxl.dev/service={name},app.kubernetes.io/component=server")
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def environment_in(namespace: Namespace, pod: str, container: str = "server") -> dict[str, str]:
    """What a process in a running container finds in its environment, the device plugin's part included."""
    said = namespace.run(
        "exec", pod, "-c", container, "--", "python3", "-c", "import json,os;print(json.dumps(dict(os.environ)))"
    )
    found: dict[str, str] = json.loads(said)
    return found


def compiled_on_cards(name: str = "studio", **spec: Any) -> Object:
    """A service of the simulated device, a card for each replica and for the compile Job."""
    return simulated_service(name, accelerator={"profile": PROFILE}, **spec)
