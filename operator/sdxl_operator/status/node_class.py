"""Node classes: nodes on which the same bank is right, by the values of their profile's identity labels. Pure.

A bank is compiled for one chip and one driver. Where a profile says which labels tell them, each combination of their
values is a class with a bank of its own; a node whose label changes is in another class from then on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sdxl_operator.api.profile import ProfileSpec
from sdxl_operator.naming import Object
from sdxl_operator.status.pods import condition_of


@dataclass(frozen=True, slots=True)
class NodeClass:
    """The values of the identity labels, empty where a node lacks one, and the nodes that have them."""

    labels: Mapping[str, str]
    nodes: tuple[str, ...]


def classes(nodes: Iterable[Mapping[str, Any]], profile: ProfileSpec) -> list[NodeClass]:
    """The classes of the nodes that a profile's pods may run on; none where it has no identity labels."""
    if not profile.identity_labels:
        return []
    found: dict[tuple[str, ...], list[str]] = {}
    for node in nodes:
        if selects(profile, node):
            labels = node["metadata"].get("labels") or {}
            found.setdefault(tuple(labels.get(key, "") for key in profile.identity_labels), []).append(
                node["metadata"]["name"]
            )
    return [
        NodeClass(dict(zip(profile.identity_labels, values, strict=True)), tuple(sorted(names)))
        for values, names in sorted(found.items())
    ]


def selects(profile: ProfileSpec, node: Mapping[str, Any]) -> bool:
    """Whether a node has the profile's labels and its resource, and takes pods; one whose cards are all in use does."""
    labels = node["metadata"].get("labels") or {}
    if not profile.node_selector.items() <= labels.items() or not takes_pods(node):
        return False
    capacity = (node.get("status") or {}).get("capacity") or {}
    return profile.resource is None or str(capacity.get(profile.resource.name, "0")) != "0"


def takes_pods(node: Mapping[str, Any]) -> bool:
    """Whether a Job could run there at all: a node that is cordoned or lost keeps nobody waiting for its bank."""
    ready = condition_of(node, "Ready").get("status", "True")
    return ready == "True" and not (node.get("spec") or {}).get("unschedulable")


def words(labels: Mapping[str, str]) -> str:
    """A class as a message calls it: `huawei.com/driver.version=25.5, chip=910B3`."""
    return ", ".join(f"{key}={value or '(none)'}" for key, value in sorted(labels.items()))


def shape(node: Mapping[str, Any]) -> Object:
    """All of a node that classes depend on: heartbeats and conditions come and go without a change of it."""
    capacity = (node.get("status") or {}).get("capacity") or {}
    return {
        "labels": dict(node["metadata"].get("labels") or {}),
        "takesPods": takes_pods(node),
        "resources": sorted(name for name, count in capacity.items() if str(count) != "0"),
    }
