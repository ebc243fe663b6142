"""A turn for an SDXLService that is paused: it is looked at, and nothing is applied for it."""

from dataclasses import replace
from typing import Any

from sdxl_operator import naming
from sdxl_operator.accept import Refusal, measured
from sdxl_operator.api import ServiceSpec
from sdxl_operator.impact.revisions import since, to_status
from sdxl_operator.naming import API_VERSION, BANK, MODEL, REASONS, Object, Reason, Ref
from sdxl_operator.plan.resolved import Resolved
from sdxl_operator.reconcile.context import POLL, Context, Requeue
from sdxl_operator.reconcile.publish import publish
from sdxl_operator.reconcile.revisions import Revisions, revisions_of
from sdxl_operator.reconcile.service import judge, observe
from sdxl_operator.status import service as service_status
from sdxl_operator.status.conditions import Finding
from sdxl_operator.status.pods import condition_of
from sdxl_operator.status.service import View
from sdxl_operator.status.weights import UsedModel


async def reconcile_paused(service: Object, context: Context) -> Requeue | None:
    """Say how what was carried out last stands, and what waits; status keeps the generation that was carried out."""
    revisions = await revisions_of(service, context)
    verdict = await judge(service, revisions, context)
    view = await observe(service, await _in_use(service, verdict, context), context)
    generation = carried_out(service)
    if service["metadata"]["generation"] != generation:
        view = _as_carried_out(service, view)
    view = replace(view, paused=_paused(service, verdict, revisions))
    last = {**service, "metadata": {**service["metadata"], "generation": generation}}
    await publish(service, service_status.build(last, view, context.now()), context)
    return None if service_status.is_rolled_out(view) else Requeue(POLL * 20)


def carried_out(service: Object) -> int:
    """The generation that was carried out last, 0 if none was."""
    return int((service.get("status") or {}).get("observedGeneration") or 0)


async def _in_use(service: Object, verdict: Resolved | Refusal, context: Context) -> View:
    """What the status of before names; before the first status, what the spec asks for and is there by chance."""
    before, namespace = service.get("status") or {}, service["metadata"]["namespace"]
    wanted = verdict if isinstance(verdict, Resolved) else None
    uses = naming.model_uses(before) or tuple(item.use for item in (wanted.weights if wanted else ()))
    models = [UsedModel(use, await context.cluster.get(Ref(API_VERSION, MODEL, namespace, use.name))) for use in uses]
    bank_name = before.get("bank") if before else wanted.bank_name if wanted else None
    bank = await context.cluster.get(Ref(API_VERSION, BANK, namespace, bank_name)) if bank_name else None
    keys = [row["key"] for row in before.get("buckets") or []] or (wanted.bucket_keys if wanted else ())
    return View(
        verdict.spec,
        tuple(keys),
        measured(verdict.spec, models) if isinstance(verdict, Resolved) else verdict.finding,
        before.get("url", ""),
        models=tuple(models),
        bank_name=bank_name,
        bank=bank,
        updated_revision=(before.get("revision") or {}).get("updated"),
        rollout=before.get("rollout"),
    )


def _as_carried_out(service: Object, view: View) -> View:
    """Judged by the generation that was carried out: its verdict, and the replicas that it asked for."""
    accepted = condition_of(service, naming.Condition.ACCEPTED.value)
    suspended = condition_of(service, naming.Condition.AVAILABLE.value).get("reason") == Reason.SUSPENDED.value
    replicas = int(view.deployment["spec"]["replicas"]) if view.deployment else 0
    change: dict[str, Any] = {"suspend": suspended, "replicas": replicas}
    spec: ServiceSpec = view.spec.model_copy(update=change)
    if not accepted:
        return replace(view, spec=spec)
    found = Finding(accepted["status"] == "True", Reason(accepted["reason"]), accepted["message"])
    return replace(view, spec=spec, accepted=found)


def _paused(service: Object, verdict: Resolved | Refusal, revisions: Revisions) -> Finding:
    wanted, last = service["metadata"]["generation"], carried_out(service)
    if wanted == last:
        return Finding(True, Reason.PAUSED)
    words = f"{REASONS[Reason.PAUSED]} Generation {wanted} of the spec waits"
    if isinstance(verdict, Refusal):
        words = f"{words}, and cannot be carried out: {verdict.finding.sentence}"
    elif revisions.running is not None and (edit := to_status(since(revisions.running, verdict))):
        words = f"{words}: {edit['impact']} ({', '.join(edit['fields'])})"
    return Finding(False, Reason.PAUSED, f"{words.rstrip('.')}.", stalled=True)
