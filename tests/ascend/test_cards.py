"""The simulated cards behave to kubelet, scheduler and pods as MindCluster's do."""

import json
from collections.abc import Iterator, Mapping

import pytest

from dev.cards import CHIP_LABEL, DRIVER_LABEL, FAMILY_LABEL, RESOURCE, NodeCards, SimulatedCards
from dev.cluster.local.cluster import LocalCluster
from dev.cluster.provider import choose
from dev.demo.kubectl import Kubectl
from tests.ascend.world import CARDS
from tests.e2e.world import Namespace, Object

LOOK = """
import glob, json, os, time
folders = [path for path in ("/usr/local/Ascend/driver/lib64", "/usr/local/dcmi") if os.path.isdir(path)]
writable = [path for path in folders if os.access(path, os.W_OK)]
nodes = sorted(glob.glob("/dev/davinci*") + glob.glob("/dev/devmm_svm") + glob.glob("/dev/hisi_hdc"))
told = {name: value for name, value in os.environ.items() if "ASCEND" in name or "SIMULATED" in name}
print(json.dumps({"nodes": nodes, "folders": folders, "writable": writable, "told": told}), flush=True)
time.sleep(3600)
"""


@pytest.fixture(autouse=True)
def no_pods_left(namespace: Namespace) -> Iterator[None]:
    yield
    namespace.run("delete", "pods", "--all", "--grace-period=0", "--force")
    namespace.wait(lambda: namespace.items("pods"), lambda pods: not pods, 30)


def pod(name: str, image: str, cards: int = 1) -> Object:
    """A pod that looks around and stays."""
    amount = {RESOURCE: str(cards)}
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", LOOK],
        "resources": {"requests": amount, "limits": amount},
        "securityContext": {"runAsUser": 1000, "runAsNonRoot": True, "allowPrivilegeEscalation": False},
    }
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def sees(namespace: Namespace, name: str) -> Object:
    """What a pod found when it looked around."""
    said = namespace.wait(lambda: namespace.run("logs", name, check=False), lambda text: text.startswith("{"), 60)
    found: Object = json.loads(said)
    return found


def test_a_node_is_labelled_and_offers_its_cards(kubectl: Kubectl, cards: SimulatedCards, node: str) -> None:
    found = kubectl.get("node", node)
    assert found["status"]["capacity"][RESOURCE] == str(CARDS)
    labels = found["metadata"]["labels"]
    assert (labels[FAMILY_LABEL], labels[CHIP_LABEL], labels[DRIVER_LABEL]) == ("huawei-Ascend910", "910B3", "25.5.0")


def test_each_pod_has_a_card_of_its_own_and_one_too_many_pends(
    cards: SimulatedCards, namespace: Namespace, built: Mapping[str, str]
) -> None:
    names = [f"pod-{number}" for number in range(CARDS + 1)]
    namespace.apply(*(pod(name, built["operator"]) for name in names[:CARDS]))
    seen = [sees(namespace, name) for name in names[:CARDS]]
    shared = ["/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"]
    own = [[path for path in each["nodes"] if path not in shared] for each in seen]
    assert sorted(own) == [[f"/dev/davinci{number}"] for number in range(CARDS)]
    for each, (path,) in zip(seen, own, strict=True):
        assert set(shared) < set(each["nodes"])
        assert each["folders"] == ["/usr/local/Ascend/driver/lib64", "/usr/local/dcmi"]
        assert each["writable"] == []
        assert each["told"]["ASCEND_VISIBLE_DEVICES"] == f"Ascend910-{path.removeprefix('/dev/davinci')}"
        assert each["told"]["SDXL_SIMULATED_CHIP"] == "910B3"
    namespace.apply(pod(names[-1], built["operator"]))
    waits = namespace.wait(
        lambda: namespace.get("pod", names[-1])["status"].get("conditions", [{}])[0], lambda item: "message" in item, 30
    )
    assert f"Insufficient {RESOURCE}" in waits["message"]


def test_a_sick_card_is_not_offered_until_it_is_well_again(cards: SimulatedCards, node: str) -> None:
    cards.mark(node, [1], healthy=False)
    cards.wait_for(node, CARDS - 1)
    cards.mark(node, [1], healthy=True)
    cards.wait_for(node, CARDS)


def test_a_node_of_another_chip_tells_its_pods(
    cards: SimulatedCards, node: str, namespace: Namespace, built: Mapping[str, str]
) -> None:
    cards.install(NodeCards(node, CARDS, chip="910B4", driver="26.0.0"))
    namespace.apply(pod("other", built["operator"]))
    told = sees(namespace, "other")["told"]
    cards.install(NodeCards(node, CARDS))
    assert (told["SDXL_SIMULATED_CHIP"], told["SDXL_SIMULATED_DRIVER"]) == ("910B4", "26.0.0")


def test_the_cards_are_there_again_after_the_kubelet_was_started_anew(cards: SimulatedCards, node: str) -> None:
    cluster = choose()
    if not isinstance(cluster, LocalCluster):
        pytest.skip("only the local cluster's kubelet can be restarted alone")
    cluster.restart_kubelet(1)
    cards.wait_for(node, CARDS, 60)
