"""A bank for each class of nodes, on simulated cards: a driver that changes, and two chips in one cluster."""

from collections.abc import Iterator, Mapping

import pytest

from dev import images
from dev.cards import CHIP_LABEL, DRIVER_LABEL, NodeCards, SimulatedCards
from dev.cluster.local.cluster import LocalCluster
from dev.cluster.provider import choose
from tests.ascend.world import CARDS, compiled_on_cards, replicas
from tests.e2e.rollouts import under_load
from tests.e2e.world import Namespace, Object, condition

NEWER_DRIVER = "25.5.1"


@pytest.fixture(scope="module", autouse=True)
def gone_at_the_end(namespace: Namespace) -> Iterator[None]:
    yield
    namespace.run("delete", "sdxl", "--all", "--timeout=60s")
    namespace.wait(lambda: replicas(namespace), lambda pods: not pods, 60)


@pytest.fixture
def restored(cards: SimulatedCards, node: str) -> Iterator[None]:
    """The cards of the first node are as other tests know them once this is over."""
    yield
    cards.install(NodeCards(node, CARDS))


def parts_of(namespace: Namespace, name: str = "studio") -> list[Object]:
    """The banks of the node classes that are there now, in their order."""
    whole = namespace.get("sdxltunebank", namespace.service(name)["status"]["bank"])
    return [namespace.get("sdxltunebank", row["bank"]) for row in whole["status"].get("nodeClasses") or []]


def drivers(namespace: Namespace) -> list[str]:
    """Those that the parts of the bank are for."""
    return [part["spec"]["nodeClass"][DRIVER_LABEL] for part in parts_of(namespace)]


def entries(namespace: Namespace) -> list[tuple[str | None, str | None]]:
    """What replicas made of the bank, by bucket."""
    return [(row.get("entry"), row.get("digest")) for row in namespace.service()["status"]["buckets"]]


@pytest.mark.usefixtures("restored")
def test_a_driver_that_changes_makes_the_bank_stale_and_made_anew_and_no_request_is_lost(
    namespace: Namespace, on_cards: str, cards: SimulatedCards, node: str, built: Mapping[str, str]
) -> None:
    namespace.apply(compiled_on_cards(replicas=1))
    namespace.wait_ready()
    (before,) = parts_of(namespace)
    assert before["spec"]["nodeClass"][DRIVER_LABEL] == NodeCards(node).driver
    (pod,) = replicas(namespace)
    with under_load(namespace, built["runtime"], "studio", "--concurrency", "2", "--steps", "20") as story:
        cards.install(NodeCards(node, CARDS, driver=NEWER_DRIVER))
        namespace.wait(lambda: drivers(namespace), lambda found: found == [NEWER_DRIVER], 60)
        namespace.wait_ready()
    assert (story.failed, story.rejected, story.gone()) == ([], [], set())
    told = [condition(event["object"], "BankReady") for event in story.services]
    stale = [item["message"] for item in told if item and item["reason"] == "Stale"]
    assert any(f"{DRIVER_LABEL}={NEWER_DRIVER}" in message for message in stale), told
    (after,) = parts_of(namespace)
    assert after["status"]["identity"] != before["status"]["identity"]
    namespace.run("delete", "pod", pod["metadata"]["name"])
    made = after["status"]["entries"][0]["digest"]
    namespace.wait(lambda: entries(namespace), lambda found: found == [("Loaded", made)], 120)
    (newcomer,) = replicas(namespace)
    assert newcomer["metadata"]["uid"] != pod["metadata"]["uid"]


@pytest.mark.long
def test_two_chips_in_one_cluster_have_a_bank_each_and_replicas_load_their_own(
    namespace: Namespace, on_cards: str, cards: SimulatedCards, node: str
) -> None:
    cluster = choose()
    if not isinstance(cluster, LocalCluster):
        pytest.skip("a second node is added to the local cluster only")
    cluster.up(2)
    try:
        images.build_and_load(["runtime"])
        cluster.load([cards.image])
        second = next(name for name in namespace_nodes(namespace) if name != node)
        cards.install(NodeCards(node, CARDS), NodeCards(second, CARDS, chip="910B4"))
        spread = [{"topologyKey": "kubernetes.io/hostname", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]
        namespace.apply(compiled_on_cards("both", replicas=2, server={"topologySpread": spread}))
        namespace.wait_ready("both", seconds=300)
        parts = parts_of(namespace, "both")
        assert [part["spec"]["nodeClass"][CHIP_LABEL] for part in parts] == ["910B3", "910B4"]
        assert len({part["status"]["identity"] for part in parts}) == 2
        assert {pod["spec"]["nodeName"] for pod in replicas(namespace, "both")} == {node, second}
        (row,) = namespace.service("both")["status"]["buckets"]
        assert row["entry"] == "Loaded"
        assert condition(namespace.service("both"), "BankReady")["status"] == "True"
    finally:
        namespace.run("delete", "sdxl", "both", "--ignore-not-found", "--timeout=60s")
        namespace.wait(lambda: replicas(namespace, "both"), lambda pods: not pods, 60)
        for each in [name for name in namespace_nodes(namespace) if name != node]:
            cards.remove(each)
        cluster.remove_node(2)


def namespace_nodes(namespace: Namespace) -> list[str]:
    """The cluster's nodes."""
    return [item["metadata"]["name"] for item in namespace.kubectl.get("nodes")["items"]]
