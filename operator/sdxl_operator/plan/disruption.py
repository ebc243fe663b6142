"""The PodDisruptionBudget of the replicas: a node drain takes no more of them at once than a rollout may."""

from collections.abc import Mapping
from typing import Any

from sdxl_operator import naming
from sdxl_operator.naming import Object
from sdxl_operator.plan.resolved import Resolved


def build(owner: Mapping[str, Any], service: Resolved) -> Object:
    """The budget; pods that are not ready may always go."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "name": service.name,
            "namespace": service.namespace,
            "labels": {**naming.labels("server", service.name), naming.SERVICE_LABEL: service.name},
            "ownerReferences": [naming.owner_reference(owner)],
        },
        "spec": {
            "maxUnavailable": service.spec.rollout.max_unavailable,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {naming.SERVICE_LABEL: service.name}},
        },
    }
