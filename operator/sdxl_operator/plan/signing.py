"""The Secret by whose key the replicas of a service sign job ids and picture URLs, so that each knows the others'."""

from collections.abc import Mapping
from typing import Any

from sdxl_operator import naming
from sdxl_operator.naming import Object

VOLUME = "signing"
KEY_FILE = "key"


def name_of(service: str) -> str:
    """The name of a service's Secret."""
    return f"{service}-signing"


def is_mounted(template: Mapping[str, Any]) -> bool:
    """Whether a pod template mounts it; a revision of 0.1.0 does not."""
    return any(volume["name"] == VOLUME for volume in template["spec"].get("volumes") or [])


def build(owner: Mapping[str, Any], key: str) -> Object:
    """The Secret with this key.

    NB: not immutable. A kubelet keeps an immutable Secret for as long as any pod of its node mounts it, and would give
    the key of before to a replica that starts.
    """
    name = owner["metadata"]["name"]
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name_of(name),
            "namespace": owner["metadata"]["namespace"],
            "labels": {**naming.labels("signing", name), naming.SERVICE_LABEL: name},
            "ownerReferences": [naming.owner_reference(owner)],
        },
        "type": "Opaque",
        "stringData": {KEY_FILE: key},
    }
