"""The development cluster does what the tests above it rely on. Needs `python -m dev.cluster up`."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from dev import images
from dev.cluster.provider import Provider, choose

pytestmark = pytest.mark.cluster
SLEEP = ["python3", "-u", "-c", "import time; print('started'); time.sleep(600)"]


@pytest.fixture(scope="module")
def cluster() -> Provider:
    chosen = choose()
    chosen.up()
    return chosen


@pytest.fixture(scope="module")
def image(cluster: Provider) -> str:
    built = images.build(["operator"])["operator"]
    cluster.load([built])
    return built


class Space:
    """A namespace of the cluster."""

    def __init__(self, cluster: Provider) -> None:
        self.name = f"dev-cluster-{uuid4().hex[:6]}"
        self._base = ["kubectl", "--kubeconfig", str(cluster.kubeconfig), "--namespace", self.name]

    def kubectl(self, *words: str, text_in: str | None = None) -> str:
        done = subprocess.run([*self._base, *words], input=text_in, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def apply(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        version = "v1"
        item = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}
        self.kubectl("apply", "-f", "-", text_in=json.dumps(item))

    def pod(self, name: str, image: str, command: list[str], **container: Any) -> None:
        one = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": command, **container}
        self.apply("Pod", name, {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [one]})

    def get(self, what: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", what, "-o", "json"))
        return found


@pytest.fixture(scope="module")
def space(cluster: Provider) -> Iterator[Space]:
    made = Space(cluster)
    made.kubectl("create", "namespace", made.name)
    yield made
    made.kubectl("delete", "namespace", made.name, "--wait=false")


def wait(look: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.3)


def test_a_pod_runs_and_its_logs_and_exec_work(space: Space, image: str) -> None:
    space.pod("plain", image, SLEEP)
    space.kubectl("wait", "--for=condition=Ready", "pod/plain", "--timeout=60s")
    wait(lambda: "started" in space.kubectl("logs", "plain"))
    lookup = "import socket; print(socket.gethostbyname('kubernetes.default'))"
    assert space.kubectl("exec", "plain", "--", "python3", "-c", lookup).strip() == "10.96.0.1"


def test_looking_up_a_name_outside_the_cluster_fails_at_once(space: Space, image: str) -> None:
    test = "import socket, time; t = time.time()\ntry: socket.gethostbyname('example.org')\nexcept OSError: pass\n"
    space.pod("outside", image, ["python3", "-c", f"{test}assert time.time() - t < 2"])
    space.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/outside", "--timeout=60s")


def test_a_claim_for_many_writers_is_bound_and_writable_without_root(space: Space, image: str) -> None:
    claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    space.apply("PersistentVolumeClaim", "shared", claim)
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "shared"}}
    one = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", "open('/data/file', 'w').write('x')"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    space.apply("Pod", "writer", {"restartPolicy": "Never", "volumes": [volume], "containers": [one]})
    space.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/writer", "--timeout=60s")


def test_an_image_that_does_not_exist_is_told_at_once(space: Space) -> None:
    space.pod("nothing", "localhost/no-such-image:1", SLEEP)

    def reason() -> str:
        states = space.get("pod/nothing")["status"].get("containerStatuses", [])
        return str(states[0]["state"].get("waiting", {}).get("reason")) if states else ""

    wait(lambda: reason() in ("ErrImagePull", "ImagePullBackOff"), seconds=20)


def test_a_container_that_takes_too_much_memory_is_killed(space: Space, image: str) -> None:
    space.pod("greedy", image, ["python3", "-c", "bytearray(300 << 20)"], resources={"limits": {"memory": "64Mi"}})
    wait(lambda: space.get("pod/greedy")["status"]["phase"] == "Failed")
    state = space.get("pod/greedy")["status"]["containerStatuses"][0]["state"]
    assert state["terminated"]["reason"] == "OOMKilled"


def test_a_claim_that_the_node_bound_class_cannot_serve_says_why(space: Space, image: str, cluster: Provider) -> None:
    if cluster.name != "local":
        pytest.skip("only the local cluster has the class node-local")
    claim = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "node-local",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    space.apply("PersistentVolumeClaim", "refused", claim)
    one = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": SLEEP}
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "refused"}}
    space.apply("Pod", "waiting", {"containers": [one], "volumes": [volume]})
    wait(lambda: "only supports ReadWriteOnce" in space.kubectl("get", "events"))
