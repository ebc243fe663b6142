"""The Deployment of the replicas: the stored template of a revision, and the live fields around it."""

from collections.abc import Mapping
from typing import Any

from sdxl_operator import naming
from sdxl_operator.api.service import Rollout
from sdxl_operator.naming import Object
from sdxl_operator.plan.resolved import Resolved
from sdxl_operator.plan.revision import models_used


def build(owner: Mapping[str, Any], service: Resolved, revision: Mapping[str, Any], lent: int = 0) -> Object:
    """The Deployment; `revision` is the ControllerRevision whose template the pods have.

    `lent` replicas are down so that a compile Job has their accelerators.
    """
    template = revision["data"]["template"]
    name = revision["metadata"]["name"]
    metadata = {**template["metadata"], "labels": {**template["metadata"]["labels"], naming.REVISION_LABEL: name}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": service.name,
            "namespace": service.namespace,
            "labels": {**_labels(service), **_uses(revision), naming.REVISION_LABEL: name},
            "ownerReferences": [naming.owner_reference(owner)],
        },
        "spec": {
            "replicas": 0 if service.spec.suspend else max(service.spec.replicas - lent, 0),
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": service.spec.rollout.progress_deadline_seconds,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": _rolling_update(service.spec.rollout)},
            "selector": {"matchLabels": {naming.SERVICE_LABEL: service.name}},
            "template": {**template, "metadata": metadata},
        },
    }


def _labels(service: Resolved) -> dict[str, str]:
    return {**naming.labels("server", service.name), naming.SERVICE_LABEL: service.name}


def _uses(revision: Mapping[str, Any]) -> dict[str, str]:
    models = {naming.uses_model_label(name): "true" for name in models_used(revision)}
    bank = revision["data"]["uses"]["bank"]
    return {**models, naming.USES_BANK_LABEL: bank} if bank else models


def _rolling_update(rollout: Rollout) -> Object:
    if rollout.strategy == "Surge":
        return {"maxSurge": rollout.max_unavailable, "maxUnavailable": 0}
    return {"maxSurge": 0, "maxUnavailable": rollout.max_unavailable}
