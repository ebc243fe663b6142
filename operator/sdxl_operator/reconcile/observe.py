"""Pods with what events and claims say about them, and what running pods say of themselves."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sdxl_operator import naming
from sdxl_operator.cluster import Cluster
from sdxl_operator.naming import Object, Ref
from sdxl_operator.reconcile.context import Context
from sdxl_operator.status.conditions import parse_time
from sdxl_operator.status.pods import Observed, is_running, oldest_first

PATIENCE = timedelta(seconds=10)
"""A pod that starts within this time needs no explanation."""

PROBED_AT_ONCE = 16


async def pods_of(context: Context, namespace: str, labels: Mapping[str, str], workload: Object | None) -> Observed:
    """The pods with these labels, oldest first; events are asked for only where something does not start."""
    cluster = context.cluster
    pods = oldest_first(await cluster.list("v1", "Pod", namespace, labels))
    claims: dict[str, str] = {}
    troubles: dict[str, str] = {}
    for pod in pods:
        if pod["metadata"].get("deletionTimestamp"):
            continue
        if not pod["spec"].get("nodeName"):
            claims |= await _claim_troubles(cluster, pod)
        elif not is_running(pod) and _waits_long(pod, context):
            name = pod["metadata"]["name"]
            troubles[name] = await _warning(cluster, Ref("v1", "Pod", namespace, name))
    refusal = ""
    if not pods and workload is not None and _waits_long(workload, context):
        refusal = await _warning(cluster, Ref.of(workload))
    return Observed(pods, claims, {name: text for name, text in troubles.items() if text}, refusal)


async def answers(
    ask: Callable[[Mapping[str, Any]], Awaitable[Object | None]],
    pods: Sequence[Object],
    answering: Callable[[Mapping[str, Any]], bool] = is_running,
) -> dict[str, Object]:
    """What each pod that runs answers, by pod name; pods that do not answer are left out."""
    running = [pod for pod in pods if answering(pod) and not pod["metadata"].get("deletionTimestamp")]
    found = await asyncio.gather(*(ask(pod) for pod in running[:PROBED_AT_ONCE]))
    return {pod["metadata"]["name"]: answer for pod, answer in zip(running, found, strict=False) if answer is not None}


def _waits_long(obj: Mapping[str, Any], context: Context) -> bool:
    return context.now() - parse_time(obj["metadata"]["creationTimestamp"]) > PATIENCE


async def _claim_troubles(cluster: Cluster, pod: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for volume in pod["spec"].get("volumes") or []:
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if not name:
            continue
        ref = Ref("v1", "PersistentVolumeClaim", pod["metadata"]["namespace"], name)
        claim = await cluster.get(ref)
        if claim is not None and claim.get("status", {}).get("phase") != "Bound":
            found[name] = await _warning(cluster, ref)
    return found


async def _warning(cluster: Cluster, ref: Ref) -> str:
    """The newest warning about an object, empty if there is none.

    What the scheduler said of a pod is in the pod's own conditions; its events outlive the pod's placing.
    """
    events = await cluster.events(ref)
    warnings = (event for event in events if event.get("type") == "Warning")
    return next((str(event.get("message", "")) for event in warnings if event.get("reason") != "FailedScheduling"), "")


async def jobs_of(cluster: Cluster, owner: Mapping[str, Any], label: str) -> list[Object]:
    """The Jobs that were made for a model or a bank."""
    metadata = owner["metadata"]
    labels = {**naming.MANAGED, label: metadata["name"]}
    return list(await cluster.list("batch/v1", "Job", metadata["namespace"], labels))
