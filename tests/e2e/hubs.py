"""The tests' hub in a pod of the cluster, and the chart's `fetch.environment` that sends every fetch to it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from dev.demo.kubectl import install_chart
from tests.e2e.world import CHART_SETTINGS, ROOT, Namespace, Object

CODE = {"hub_pod.py": "tests/e2e/hub_pod.py", "fakehub.py": "tests/runtime/fakehub.py"}
"""The key in the ConfigMap → the module's path, here and in the pod."""
PORTS = {"hub": 8080, "storage": 8081}
"""The Services, and the ports behind them."""


class Hub:
    """The hub as a test rules it."""

    def __init__(self, control: httpx.Client) -> None:
        self._control = control

    def rule(self, **behaviour: Any) -> None:
        """Behave so from now on, and well in all that is not named; see `hub_pod.rule`. What was seen is forgotten."""
        self._control.post("/", json=behaviour).raise_for_status()

    def seen(self) -> Object:
        """`served`: bytes of each file that were sent, `sizes`, `asked`: requests, `leaks`: credentials shown."""
        found: Object = self._control.get("/").raise_for_status().json()
        return found


@contextmanager
def hub_in(namespace: Namespace, built: Mapping[str, str]) -> Iterator[Hub]:
    """Run the hub, and send the operator's fetches to it, while the block runs."""
    addresses = {name: f"http://{name}.{namespace.name}.svc" for name in PORTS}
    namespace.apply(*_objects(built["runtime"], addresses))
    namespace.run("wait", "--for=condition=Ready", "pod/hub", "--timeout=120s", timeout=150)
    mirrors = (f"fetch.environment.{name}={addresses['hub']}" for name in ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT"))
    install_chart(namespace.kubectl, built, *CHART_SETTINGS, *mirrors)
    try:
        with (
            namespace.kubectl.port_forward(namespace.name, "pod/hub", 8082) as url,
            httpx.Client(base_url=url, timeout=30) as control,
        ):
            yield Hub(control)
    finally:
        install_chart(namespace.kubectl, built, *CHART_SETTINGS)


def _objects(image: str, addresses: Mapping[str, str]) -> list[Object]:
    code = {key: (ROOT / path).read_text() for key, path in CODE.items()}
    items = [{"key": key, "path": path} for key, path in CODE.items()]
    container = {
        "name": "hub",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", Path(CODE["hub_pod.py"]).with_suffix("").as_posix().replace("/", ".")],
        "args": [addresses[name] for name in PORTS],
        "env": [{"name": "PYTHONPATH", "value": "/app:/hub"}],
        "volumeMounts": [{"name": "code", "mountPath": "/hub"}],
        "readinessProbe": {"tcpSocket": {"port": 8082}, "periodSeconds": 1},
    }
    volume = {"name": "code", "configMap": {"name": "hub", "items": items}}
    labels = {"app": "hub"}
    services = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": port}]},
        }
        for name, port in PORTS.items()
    ]
    pod = {"metadata": {"name": "hub", "labels": labels}, "spec": {"containers": [container], "volumes": [volume]}}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hub"}, "data": code},
        *services,
        {"apiVersion": "v1", "kind": "Pod", **pod},
    ]
