"""A Job for a model or a bank: one at a time, started, watched, and started again after a failure's pause."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sdxl_operator import naming
from sdxl_operator.naming import Object, Ref
from sdxl_operator.plan.job import OCCASION_ANNOTATION
from sdxl_operator.reconcile.children import REFUSALS, apply_owned, refusal_reason
from sdxl_operator.reconcile.context import Context
from sdxl_operator.reconcile.observe import jobs_of, pods_of
from sdxl_operator.status.conditions import Finding
from sdxl_operator.status.pods import Observed, condition_of
from sdxl_operator.status.work import Standing, Words, standing


async def run(
    owner: Mapping[str, Any], claim: Object | None, job: Object, label: str, words: Words, context: Context
) -> tuple[Standing, Observed]:
    """Bring the Job about and judge it; Jobs of other templates and their pods go first, so one writes."""
    waiting_for = await stop_others(owner, job["metadata"]["name"], label, words.component, context)
    if waiting_for:
        finding = Finding(False, words.at_work, f"waits for {waiting_for} to end")
        return Standing(finding, failures=int((owner.get("status") or {}).get("failures") or 0)), Observed()
    try:
        if claim is not None:
            await apply_owned(context.cluster, claim, owner)
        live = await apply_owned(context.cluster, job, owner)
    except REFUSALS as error:
        failures = int((owner.get("status") or {}).get("failures") or 0)
        return Standing(Finding(False, refusal_reason(error), str(error), stalled=True), failures=failures), Observed()
    if live["metadata"].get("deletionTimestamp"):
        return Standing(Finding(False, words.at_work, "the last Job is being removed")), Observed()
    namespace = owner["metadata"]["namespace"]
    pods = await pods_of(context, namespace, {"job-name": live["metadata"]["name"]}, live)
    result = standing(live, pods, owner.get("status") or {}, words, context.now())
    if result.retry_at is not None and result.retry_at <= context.now():
        await context.cluster.delete(Ref.of(live), live["metadata"]["uid"])
        result = replace(result, retry_at=None)
    return result, pods


async def stop_unfinished(owner: Mapping[str, Any], label: str, context: Context) -> None:
    """Delete the owner's Jobs that are still at work: nobody waits for them. What ended stays for its log.

    A Job that was made on an occasion goes too: the next such occasion is another one.
    """
    for job in await jobs_of(context.cluster, owner, label):
        ended = any(condition_of(job, kind).get("status") == "True" for kind in ("Complete", "Failed"))
        occasional = OCCASION_ANNOTATION in (job["spec"]["template"]["metadata"].get("annotations") or {})
        if (occasional or not ended) and not job["metadata"].get("deletionTimestamp"):
            await context.cluster.delete(Ref.of({**job, "apiVersion": "batch/v1", "kind": "Job"}))


async def stop_others(owner: Mapping[str, Any], keep: str, label: str, component: str, context: Context) -> str:
    """Delete the owner's Jobs but one, and name a pod or Job of theirs that is still there, empty if none is."""
    cluster, metadata = context.cluster, owner["metadata"]
    others = [job for job in await jobs_of(cluster, owner, label) if job["metadata"]["name"] != keep]
    for job in others:
        if not job["metadata"].get("deletionTimestamp"):
            await cluster.delete(Ref("batch/v1", "Job", metadata["namespace"], job["metadata"]["name"]))
    labels = {label: metadata["name"], naming.COMPONENT: component}
    pods = await cluster.list("v1", "Pod", metadata["namespace"], labels)
    left = [
        pod["metadata"]["name"]
        for pod in pods
        if (pod["metadata"].get("labels") or {}).get("job-name") != keep
        and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
    ]
    return next(iter(left), "")
