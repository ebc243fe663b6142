"""The revisions of a service over time: which runs, which ran whole, which was given up, which may go."""

from collections.abc import Sequence
from dataclasses import dataclass

from sdxl_operator import naming
from sdxl_operator.naming import Key, Object, Reason, Ref
from sdxl_operator.plan import revision
from sdxl_operator.plan.resolved import Resolved
from sdxl_operator.reconcile.children import is_owned
from sdxl_operator.reconcile.context import Context
from sdxl_operator.status import service as service_status
from sdxl_operator.status.conditions import Finding
from sdxl_operator.status.failed_rollout import why_failed
from sdxl_operator.status.service import View


@dataclass(frozen=True, slots=True)
class Revisions:
    """The stored revisions of a service and the one its Deployment runs."""

    stored: Sequence[Object]
    running: Object | None


async def revisions_of(service: Object, context: Context) -> Revisions:
    """The stored revisions of a service, and which of them its Deployment runs."""
    metadata = service["metadata"]
    labels = {**naming.MANAGED, naming.SERVICE_LABEL: metadata["name"]}
    found = await context.cluster.list("apps/v1", "ControllerRevision", metadata["namespace"], labels)
    stored = [item for item in found if is_owned(item, service)]
    live = await context.cluster.get(Ref("apps/v1", "Deployment", metadata["namespace"], metadata["name"]))
    name = (live["metadata"].get("labels") or {}).get(naming.REVISION_LABEL) if live else None
    return Revisions(stored, next((item for item in stored if item["metadata"]["name"] == name), None))


def rolled_back(target: Object, before: Object, why: str) -> Finding:
    """What status says while the revision before the one that is wanted serves."""
    names = target["metadata"]["name"], before["metadata"]["name"]
    text = f"revision {names[0]} was taken back: {why}. Revision {names[1]} serves; correct or revert the spec"
    return Finding(False, Reason.ROLLED_BACK, text, stalled=True)


def own_fields(stored: Object) -> Object:
    """A stored revision with the fields that an apply may send."""
    metadata = stored["metadata"]
    kept = {name: metadata[name] for name in ("name", "namespace", "labels", "ownerReferences")}
    annotations = metadata.get("annotations")
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {**kept, **({"annotations": annotations} if annotations else {})},
        "revision": stored["revision"],
        "data": stored["data"],
    }


async def give_up(service: Object, wanted: Resolved, revisions: Revisions, view: View, context: Context) -> None:
    """Remember that a revision's pods do not become ready, where there is one before it to come back to."""
    name = str(((view.deployment or {}).get("metadata", {}).get("labels") or {}).get(naming.REVISION_LABEL, ""))
    stored = next((item for item in revisions.stored if item["metadata"]["name"] == name), None)
    if stored is None or name != view.updated_revision or revision.completed(stored):
        return
    if revision.last_completed(revisions.stored, name) is None:
        return
    budget = wanted.profile.startup_budget_seconds
    why = why_failed(view.observed.pods, name, budget, service_status.MEMORY_FIELD, context.now())
    if why:
        own = own_fields(stored)
        own["metadata"]["annotations"] = {revision.FAILED_ANNOTATION: why[:1024]}
        await context.cluster.apply(own)
        context.enqueue(Key(naming.SERVICE, service["metadata"]["namespace"], service["metadata"]["name"]))


async def complete(service: Object, revisions: Revisions, view: View, status: Object, context: Context) -> None:
    """Remember that a rollout finished, and let go of the oldest revisions."""
    if not service_status.is_rolled_out(view) or view.wanted == 0 or view.deployment is None:
        return
    name = view.deployment["metadata"]["labels"].get(naming.REVISION_LABEL)
    stored = next((item for item in revisions.stored if item["metadata"]["name"] == name), None)
    if stored is not None and not revision.completed(stored):
        own = own_fields(stored)
        own["metadata"]["annotations"] = {revision.COMPLETED_ANNOTATION: "true"}
        await context.cluster.apply(own)
    in_use = {name, view.updated_revision, (status.get("revision") or {}).get("current")}
    for old in revision.surplus(revisions.stored, {item for item in in_use if item}):
        await context.cluster.delete(Ref.of({**old, "apiVersion": "apps/v1", "kind": "ControllerRevision"}))
