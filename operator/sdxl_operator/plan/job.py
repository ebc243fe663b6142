"""The Jobs that run once for a model or a bank; a hash of the template, which is immutable, is in their names."""

from collections.abc import Mapping
from typing import Any

from sdxl_operator import naming
from sdxl_operator.naming import Object

OCCASION_ANNOTATION = f"{naming.GROUP}/occasion"
FINISHED_TTL_SECONDS = 3600
"""A finished Job stays this long for people to read its log; what it found is in status by then."""


def build(
    owner: Mapping[str, Any], label: str, component: str, pod: Object, deadline_seconds: int | None, occasion: str = ""
) -> Object:
    """A Job of one pod, never two at a time, that does not count a disruption as a failure.

    `backoffLimit: 0`: the operator itself tries again after a pause that it can explain in status. With another
    `occasion` it is another Job, though the pod is the same.
    """
    name = owner["metadata"]["name"]
    labels = {**naming.labels(component, name), label: name}
    annotations = {"annotations": {OCCASION_ANNOTATION: occasion}} if occasion else {}
    spec: Object = {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}},
            ]
        },
        "ttlSecondsAfterFinished": FINISHED_TTL_SECONDS,
        "template": {"metadata": {"labels": labels, **annotations}, "spec": pod},
    }
    if deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = deadline_seconds
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{name[:46]}-{component}-{naming.digest(spec, 6)}",
            "namespace": owner["metadata"]["namespace"],
            "labels": labels,
            "ownerReferences": [naming.owner_reference(owner)],
        },
        "spec": spec,
    }
