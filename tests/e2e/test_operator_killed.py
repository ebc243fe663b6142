"""The operator is killed in the middle of each phase of a service's life; the next one brings it to the same end."""

from collections.abc import Callable

import pytest

from dev.demo.kubectl import SYSTEM_NAMESPACE, Kubectl
from tests.e2e.world import OPERATOR_POD, Namespace, kill_operator, simulated_service

SELECT = "sdxl.dev/service=studio"


def _has(namespace: Namespace, *words: str) -> bool:
    return bool(namespace.items(*words))


PHASES: dict[str, Callable[[Namespace], bool]] = {
    "the service was just applied": lambda namespace: True,
    "the fetch Job is there": lambda namespace: _has(namespace, "jobs", "-l", "app.kubernetes.io/component=fetch"),
    "the model is ready": lambda namespace: any(
        item.get("status", {}).get("digest") for item in namespace.items("sdxlmodels")
    ),
    "the compile Job is there": lambda namespace: _has(namespace, "jobs", "-l", "app.kubernetes.io/component=compile"),
    "the revision is cut": lambda namespace: _has(namespace, "controllerrevisions", "-l", SELECT),
    "replicas load": lambda namespace: _has(namespace, "pods", "-l", SELECT),
}


@pytest.fixture
def empty(namespace: Namespace) -> Namespace:
    """The namespace without a service, model, bank or volume."""
    namespace.run("delete", "sdxlservices,sdxlmodels,sdxltunebanks", "--all", "--timeout=60s")
    kinds = "jobs,deployments,pods,persistentvolumeclaims"
    namespace.wait(lambda: len(namespace.items(kinds)), lambda count: count == 0, 120)
    return namespace


@pytest.mark.parametrize("phase", PHASES)
def test_killed_while(empty: Namespace, kubectl: Kubectl, phase: str) -> None:
    empty.apply(simulated_service(replicas=2))
    empty.wait(lambda: PHASES[phase](empty), bool, 120)
    kill_operator(kubectl)
    service = empty.wait_ready(seconds=240)
    status = service["status"]
    assert (status["readyReplicas"], status["bucketSummary"]) == (2, "1/1")
    counts = {
        kind: len(empty.items(kind))
        for kind in ("sdxlmodels", "sdxltunebanks", "deployments", "controllerrevisions", "poddisruptionbudgets", "pvc")
    }
    assert counts == {
        "sdxlmodels": 1,
        "sdxltunebanks": 1,
        "deployments": 1,
        "controllerrevisions": 1,
        "poddisruptionbudgets": 1,
        "pvc": 2,
    }
    failures = [empty.items(kind)[0]["status"].get("failures", 0) for kind in ("sdxlmodels", "sdxltunebanks")]
    assert failures == [0, 0]


def test_one_operator_is_left(kubectl: Kubectl) -> None:
    namespace = Namespace(kubectl, SYSTEM_NAMESPACE)
    running = namespace.wait(
        lambda: [
            pod["metadata"]["name"]
            for pod in namespace.items("pods", "-l", OPERATOR_POD)
            if not pod["metadata"].get("deletionTimestamp")
        ],
        lambda pods: len(pods) == 1,
        60,
    )
    assert len(running) == 1
