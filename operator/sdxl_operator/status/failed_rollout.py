"""Whether a new revision's pods will not become ready: the judgement after which the revision before comes back."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sdxl_operator.naming import REVISION_LABEL, Object, Reason
from sdxl_operator.status.conditions import parse_time
from sdxl_operator.status.pods import (
    Observed,
    condition_of,
    container_statuses,
    ending,
    init_statuses,
    is_ready,
    waiting,
)

RESTARTS = 3
"""A container that ended so often, and not well, is not waited for until its budget is over."""

FINAL = (Reason.PICTURE_DIFFERS,)
"""What a container ended with that it would end with again: it is not waited for at all."""


def why_failed(pods: Iterable[Object], revision: str, budget_seconds: int, memory_field: str, now: datetime) -> str:
    """Why no pod of a revision will become ready; empty while one may, or has.

    The budget counts from when the pod's own containers could start. A pod that finds no node is no failure of what
    is in it.
    """
    own = [
        pod
        for pod in pods
        if (pod["metadata"].get("labels") or {}).get(REVISION_LABEL) == revision
        and not pod["metadata"].get("deletionTimestamp")
    ]
    if any(is_ready(pod) for pod in own):
        return ""
    return next(filter(None, (_why(pod, budget_seconds, memory_field, now) for pod in own)), "")


def _why(pod: Mapping[str, Any], budget_seconds: int, memory_field: str, now: datetime) -> str:
    name = pod["metadata"]["name"]
    end = ending(pod, Reason.CRASHING, memory_field)
    restarts = max(
        (int(item.get("restartCount", 0)) for item in (*init_statuses(pod), *container_statuses(pod))), default=0
    )
    if end is not None and end.exit_code != 0 and end.reason in FINAL:
        return f"pod {name} ended: {end.message}"
    if end is not None and end.exit_code != 0 and restarts >= RESTARTS:
        return f"pod {name} ended {restarts} times: {end.message}"
    began = _could_start(pod)
    if began is None or (now - began).total_seconds() <= budget_seconds:
        return ""
    wait = waiting(Observed([dict(pod)]), memory_field)
    why = wait.message if wait is not None else end.message if end is not None else "it does not say why"
    return f"pod {name} was not ready after {budget_seconds} s: {why}"


def _could_start(pod: Mapping[str, Any]) -> datetime | None:
    """When it had a node, and its init containers were done."""
    conditions = [condition_of(pod, kind) for kind in ("PodScheduled", "Initialized")]
    known = [item for item in conditions if item]
    if not known or any(item.get("status") != "True" for item in known):
        return None
    times = [parse_time(item["lastTransitionTime"]) for item in known if item.get("lastTransitionTime")]
    return max(times, default=None)
