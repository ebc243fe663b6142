"""An edit whose pods never become ready, on the real cluster: it is taken back, and clients notice nothing."""

import json
from collections.abc import Iterator, Mapping

import pytest

from dev.demo.kubectl import Kubectl
from tests.e2e.world import Namespace, condition, simulated_service

PROFILE = "simulated-impatient"
BUDGET_SECONDS = 20
MISSING = "localhost/sdxl-runtime:not-there"


@pytest.fixture(scope="module")
def profile(kubectl: Kubectl) -> Iterator[str]:
    """The simulated profile with little patience."""
    simulated = kubectl.get("acceleratorprofile", "simulated")
    spec = {**simulated["spec"], "startupBudgetSeconds": BUDGET_SECONDS}
    named = {"apiVersion": simulated["apiVersion"], "kind": simulated["kind"], "metadata": {"name": PROFILE}}
    kubectl.run("apply", "-f", "-", text_in=json.dumps({**named, "spec": spec}))
    yield PROFILE
    kubectl.run("delete", "acceleratorprofile", PROFILE, "--ignore-not-found")


def use_image(kubectl: Kubectl, image: str) -> None:
    """What an admin does who makes a mistake, or mends it."""
    patch = json.dumps({"spec": {"image": image}})
    kubectl.run("patch", "acceleratorprofile", PROFILE, "--type=merge", "-p", patch)


def test_a_wrong_image_is_taken_back_while_the_old_replica_serves(
    namespace: Namespace, kubectl: Kubectl, built: Mapping[str, str], profile: str
) -> None:
    eager = {"compile": {"mode": "Eager"}, "accelerator": {"profile": profile}, "replicas": 2}
    namespace.apply(simulated_service(**eager))
    namespace.wait_ready()
    use_image(kubectl, MISSING)
    namespace.apply(simulated_service(**eager, server={"labels": {"edited": "yes"}}))
    told = namespace.wait_reason("RolledBack", seconds=180)
    assert MISSING in told["message"]
    namespace.wait(lambda: namespace.service()["status"].get("readyReplicas"), lambda count: count == 2, 120)
    service = namespace.service()
    assert condition(service, "Available")["status"] == "True"
    assert condition(service, "Degraded")["status"] == "True"


def test_mending_the_image_and_editing_again_rolls_out(
    namespace: Namespace, kubectl: Kubectl, built: Mapping[str, str], profile: str
) -> None:
    use_image(kubectl, built["runtime"])
    edited = {"compile": {"mode": "Eager"}, "accelerator": {"profile": profile}, "replicas": 2}
    namespace.apply(simulated_service(**edited, server={"labels": {"edited": "again"}}))
    service = namespace.wait_ready(seconds=120)
    assert condition(service, "Degraded") == {}
