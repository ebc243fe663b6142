"""Classes of nodes: which nodes count, what tells them apart, and how a pod is kept to one."""

from typing import Any

import pytest

from sdxl_operator.api.profile import ProfileSpec
from sdxl_operator.naming import Object
from sdxl_operator.plan.pod import on_nodes
from sdxl_operator.status.node_class import classes, shape, words
from tests.operator.builders import merged

CHIP, DRIVER, CARD = "example.org/chip", "example.org/driver", "example.org/card"
PROFILE = ProfileSpec.model_validate(
    {
        "backend": "NPU",
        "image": "i",
        "resource": {"name": CARD},
        "nodeSelector": {"family": "a"},
        "identityLabels": [CHIP, DRIVER],
    }
)


def node(name: str, chip: str | None = "x1", driver: str | None = "1", cards: Any = "8", **labels: str) -> Object:
    told = {CHIP: chip, DRIVER: driver, "family": "a", **labels}
    return {
        "metadata": {"name": name, "labels": {key: value for key, value in told.items() if value is not None}},
        "status": {"capacity": {"cpu": "4", CARD: cards}},
    }


def test_nodes_with_the_same_chip_and_driver_are_one_class_whatever_else_they_have() -> None:
    found = classes([node("b"), node("a", zone="z"), node("c", driver="2")], PROFILE)
    assert [each.nodes for each in found] == [("a", "b"), ("c",)]
    assert [dict(each.labels) for each in found] == [{CHIP: "x1", DRIVER: "1"}, {CHIP: "x1", DRIVER: "2"}]


def test_the_order_of_nodes_and_labels_changes_nothing() -> None:
    nodes = [node("a"), node("b", chip="x2"), node("c", driver="2")]
    assert classes(nodes, PROFILE) == classes(nodes[::-1], PROFILE)


@pytest.mark.parametrize("other", [node("o", family="b"), node("o", cards="0")])
def test_nodes_that_the_profile_cannot_use_do_not_count(other: Object) -> None:
    assert [each.nodes for each in classes([node("a"), other], PROFILE)] == [("a",)]


@pytest.mark.parametrize(
    "trouble",
    [{"spec": {"unschedulable": True}}, {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}],
    ids=["cordoned", "lost"],
)
def test_a_node_that_takes_no_pods_keeps_nobody_waiting_for_its_class(trouble: Object) -> None:
    gone = merged(node("b", chip="x2"), trouble)
    assert [each.nodes for each in classes([node("a"), gone], PROFILE)] == [("a",)]
    assert shape(gone) != shape(node("b", chip="x2"))


def test_a_node_without_a_label_is_of_a_class_too_and_pods_find_it() -> None:
    (found,) = classes([node("a", driver=None)], PROFILE)
    assert found.labels == {CHIP: "x1", DRIVER: ""}
    assert words(found.labels) == f"{CHIP}=x1, {DRIVER}=(none)"
    required = on_nodes(found.labels)["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert required["nodeSelectorTerms"] == [
        {
            "matchExpressions": [
                {"key": CHIP, "operator": "In", "values": ["x1"]},
                {"key": DRIVER, "operator": "DoesNotExist"},
            ]
        }
    ]


def test_without_identity_labels_there_are_no_classes() -> None:
    assert classes([node("a")], PROFILE.model_copy(update={"identity_labels": []})) == []


def test_a_heartbeat_changes_no_shape_and_a_label_or_a_resource_does() -> None:
    before = node("a")
    beats = {
        **before,
        "status": {**before["status"], "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "now"}]},
    }
    assert shape(before) == shape(beats)
    assert shape(before) != shape(node("a", driver="2"))
    assert shape(before) != shape(node("a", cards="0"))
    assert shape(before) == shape(node("a", cards="7")), "how many cards there are says nothing of what they are"
