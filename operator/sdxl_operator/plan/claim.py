"""The PersistentVolumeClaim of a model or a bank; None where the user named an existing one."""

from collections.abc import Mapping
from typing import Any

from sdxl_operator import naming
from sdxl_operator.naming import Object

DEFAULT_SIZE = "20Gi"
DEFAULT_ACCESS_MODES = ["ReadWriteMany"]


def build(owner: Mapping[str, Any], label: str, component: str) -> Object | None:
    """The claim for the volume in `owner.spec.volume`, owned by `owner` and labelled `label: <owner's name>`."""
    volume = owner["spec"].get("volume") or {}
    if volume.get("claimName"):
        return None
    name = owner["metadata"]["name"]
    spec: Object = {
        "accessModes": volume.get("accessModes") or DEFAULT_ACCESS_MODES,
        "resources": {"requests": {"storage": str(volume.get("size") or DEFAULT_SIZE)}},
    }
    if volume.get("storageClassName"):
        spec["storageClassName"] = volume["storageClassName"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name,
            "namespace": owner["metadata"]["namespace"],
            "labels": {**naming.labels(component, name), label: name},
            "ownerReferences": [naming.owner_reference(owner)],
        },
        "spec": spec,
    }
