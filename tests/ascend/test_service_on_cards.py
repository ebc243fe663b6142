"""A service whose replicas hold simulated cards, on a node that has two, in order."""

from collections.abc import Iterator

import pytest

from dev.cards import RESOURCE
from dev.demo.kubectl import Kubectl
from tests.ascend.world import CARDS, environment_in, replicas, service_on_cards
from tests.e2e.world import Namespace, condition


@pytest.fixture(scope="module", autouse=True)
def gone_at_the_end(namespace: Namespace) -> Iterator[None]:
    yield
    namespace.run("delete", "sdxl", "--all", "--timeout=60s")
    namespace.wait(lambda: replicas(namespace), lambda pods: not pods, 60)


def test_each_replica_holds_a_card_as_the_shipped_profile_says(namespace: Namespace, on_cards: str) -> None:
    namespace.apply(service_on_cards(replicas=CARDS))
    service = namespace.wait_ready()
    assert service["status"]["readyReplicas"] == CARDS
    pods = replicas(namespace)
    told = sorted(environment_in(namespace, pod["metadata"]["name"])["ASCEND_VISIBLE_DEVICES"] for pod in pods)
    assert told == [f"Ascend910-{number}" for number in range(CARDS)]
    assert all(pod["spec"]["nodeSelector"] == {"accelerator": "huawei-Ascend910"} for pod in pods)


def test_a_replica_too_many_pends_and_status_says_why_while_the_others_serve(namespace: Namespace) -> None:
    namespace.run("scale", "sdxl/studio", f"--replicas={CARDS + 1}")
    ready = namespace.wait_reason("Unschedulable")
    assert f"Insufficient {RESOURCE}" in ready["message"]
    assert f"{CARDS} of {CARDS + 1} replicas" in ready["message"]
    service = namespace.service()
    assert condition(service, "Available")["status"] == "True"
    assert service["status"]["readyReplicas"] == CARDS


def test_scaling_back_cures_it_and_rolls_nobody(namespace: Namespace) -> None:
    before = {pod["metadata"]["name"] for pod in replicas(namespace) if pod["spec"].get("nodeName")}
    namespace.run("scale", "sdxl/studio", f"--replicas={CARDS}")
    namespace.wait_ready()
    assert {pod["metadata"]["name"] for pod in replicas(namespace)} == before


def test_a_rollout_on_a_full_node_takes_a_card_before_it_gives_one(namespace: Namespace, kubectl: Kubectl) -> None:
    before = {pod["metadata"]["name"] for pod in replicas(namespace)}
    namespace.apply(service_on_cards(replicas=CARDS, server={"labels": {"edited": "yes"}}))
    service = namespace.wait_ready(seconds=180)
    assert service["status"]["readyReplicas"] == CARDS
    after = replicas(namespace)
    assert not before & {pod["metadata"]["name"] for pod in after}
    assert all(pod["metadata"]["labels"]["edited"] == "yes" for pod in after)


def test_surge_on_a_full_node_cannot_go_on_and_status_says_what_to_do(namespace: Namespace) -> None:
    edited = {"labels": {"edited": "again"}}
    namespace.apply(service_on_cards(replicas=CARDS, server=edited, rollout={"strategy": "Surge"}))
    ready = namespace.wait_reason("Unschedulable")
    assert f"Insufficient {RESOURCE}" in ready["message"]
    assert condition(namespace.service(), "Available")["status"] == "True"
    namespace.apply(service_on_cards(replicas=CARDS, server=edited, rollout={"strategy": "NoSurge"}))
    namespace.wait_ready(seconds=180)
