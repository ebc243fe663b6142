"""A turn for an SDXLService: accepted → model → bank → revision → replicas, and what was seen of them."""

from collections.abc import Sequence
from dataclasses import replace

from sdxl_operator import naming
from sdxl_operator.accept import Refusal, accept, bank_fits, measured
from sdxl_operator.api.service import Accelerator, Placement
from sdxl_operator.impact.revisions import since, to_status
from sdxl_operator.impact.updates import offered
from sdxl_operator.naming import Key, Object, Reason, Ref
from sdxl_operator.plan import bank as plan_bank
from sdxl_operator.plan import deployment, disruption, replica, revision, signing
from sdxl_operator.plan import model as plan_model
from sdxl_operator.plan import service as plan_service
from sdxl_operator.plan.placement import Method, Placed
from sdxl_operator.plan.resolved import Resolved
from sdxl_operator.reconcile.children import FINAL, REFUSALS, apply_owned, is_owned, refusal_reason
from sdxl_operator.reconcile.context import POLL, Context, Requeue
from sdxl_operator.reconcile.observe import answers, pods_of
from sdxl_operator.reconcile.publish import publish
from sdxl_operator.reconcile.revisions import Revisions, complete, give_up, own_fields, revisions_of, rolled_back
from sdxl_operator.status import bank as bank_status
from sdxl_operator.status import model as model_status
from sdxl_operator.status import service as service_status
from sdxl_operator.status.conditions import Finding, first_failing
from sdxl_operator.status.service import View
from sdxl_operator.status.weights import UsedModel


async def reconcile_service(service: Object, context: Context) -> Requeue | None:
    """Bring a service one step nearer to its spec."""
    revisions = await revisions_of(service, context)
    verdict = await judge(service, revisions, context)
    if isinstance(verdict, Refusal):
        view = await observe(service, _refused(service, verdict), context)
        await publish(service, service_status.build(service, view, context.now()), context)
        return Requeue(POLL * 20)
    # What a completed revision froze stays as it was, whatever became of its profile.
    frozen = revision.stored_for(verdict, revisions.stored)
    wanted = verdict if frozen is None else replace(verdict, profile=revision.stored_profile(frozen))
    view = await _prepare(wanted, verdict, context)
    if view.accepted.holds:
        view = await _roll_out(service, wanted, frozen, revisions, view, verdict, context)
    view = await observe(service, view, context)
    view = replace(view, rollout=_edit(revisions, wanted, view))
    status = service_status.build(service, view, context.now())
    await publish(service, status, context, _children_keys(wanted))
    await complete(service, revisions, view, status, context)
    await give_up(service, wanted, revisions, view, context)
    ready = next(item for item in status["conditions"] if item["type"] == naming.Condition.READY.value)
    return None if ready["status"] == "True" or wanted.spec.suspend else Requeue(POLL)


async def judge(service: Object, revisions: Revisions, context: Context) -> Resolved | Refusal:
    """The service with its profile and the bank it names, or the first reason against it."""
    profiles = await context.cluster.list(naming.API_VERSION, naming.PROFILE)
    verdict = _frozen(service, profiles, revisions) or accept(service, profiles)
    return verdict if isinstance(verdict, Refusal) else await _with_named_bank(verdict, context)


async def _with_named_bank(service: Resolved, context: Context) -> Resolved:
    named = service.spec.tune_bank.bank_ref
    if named is None:
        return service
    ref = Ref(naming.API_VERSION, naming.BANK, service.namespace, named.name)
    return replace(service, named_bank=await context.cluster.get(ref))


def _frozen(service: Object, profiles: Sequence[Object], revisions: Revisions) -> Resolved | None:
    """The service with the profile that its revision froze, if an admin removed it: its pods go on, and scale."""
    name, running = _profile_name(service["spec"]), revisions.running
    if running is None or any(item["metadata"]["name"] == name for item in profiles):
        return None
    if _profile_name(running["data"]["spec"]) != name:
        return None
    verdict = accept(service, [{"metadata": {"name": name}, "spec": running["data"]["profile"]}])
    if isinstance(verdict, Refusal) or revision.stored_for(verdict, revisions.stored) is None:
        return None
    return verdict


def _profile_name(spec: Object) -> str:
    return str((spec.get("accelerator") or {}).get("profile") or Accelerator().profile)


def _refused(service: Object, refusal: Refusal) -> View:
    """What was in use stays in use while the spec cannot be carried out."""
    before = service.get("status") or {}
    keys = tuple(row["key"] for row in before.get("buckets") or [])
    models = tuple(UsedModel(use) for use in naming.model_uses(before))
    return View(refusal.spec, keys, refusal.finding, before.get("url", ""), models=models, bank_name=before.get("bank"))


async def forget_service(key: Key, context: Context) -> None:
    """A service went: its children follow by garbage collection, and what it used learns that it lost a user."""
    context.signing.forget(key)
    for kind in (naming.MODEL, naming.BANK):
        for obj in await context.cluster.list(naming.API_VERSION, kind, key.namespace):
            context.enqueue(Key(kind, key.namespace, obj["metadata"]["name"]))


def _children_keys(service: Resolved) -> list[Key]:
    keys = [Key(naming.MODEL, service.namespace, item.name) for item in service.weights]
    if service.bank_name is not None:
        keys.append(Key(naming.BANK, service.namespace, service.bank_name))
    return keys


async def _prepare(wanted: Resolved, live: Resolved, context: Context) -> View:
    """See to the models and the bank, and learn from the models whether the spec fits them."""
    uses = tuple(UsedModel(item.use) for item in wanted.weights)
    view = View(wanted.spec, wanted.bucket_keys, Finding(True, Reason.ACCEPTED), plan_service.url(wanted), models=uses)
    view = replace(view, bank_name=wanted.bank_name)
    try:
        seen = []
        for item in wanted.weights:
            live_model = await context.cluster.apply(plan_model.build(wanted.namespace, item))
            seen.append(UsedModel(item.use, live_model))
        accepted = first_failing((measured(live.spec, seen), bank_fits(wanted)), Finding(True, Reason.ACCEPTED))
        view = replace(view, models=tuple(seen), accepted=accepted, bank=wanted.named_bank)
        wanted_bank = plan_bank.build(wanted)
        if wanted_bank is not None and view.accepted.holds:
            view = replace(view, bank=await context.cluster.apply(wanted_bank))
    except FINAL as error:
        view = replace(view, accepted=Finding(False, Reason.CHILD_REFUSED, str(error), stalled=True))
    return _placed(view, live)


def _placed(view: View, live: Resolved) -> View:
    """What the placement of the bank's compiling means for the replicas; an imported bank compiles nothing."""
    if view.bank is None or view.bank["spec"].get("from"):
        return view
    placed = Placed.of(view.bank.get("status") or {})
    inside = placed.method is Method.INIT_CONTAINER or live.spec.compile.placement is Placement.INIT_CONTAINER
    return replace(view, lent=int(placed.lender == live.name), compiles_in_pods=inside)


async def _roll_out(
    service: Object,
    wanted: Resolved,
    frozen: Object | None,
    revisions: Revisions,
    view: View,
    live: Resolved,
    context: Context,
) -> View:
    """Apply the Deployment: of the wanted revision once model and bank are there, of the running one until then."""
    digest = view.models[0].status.get("digest")
    target = frozen
    update = ""
    if digest:
        template = replica.template(live, digest, view.compiles_in_pods)
        fresh = revision.build(service, live, template, revision.next_number(revisions.stored))
        if frozen is not None:
            update = offered(wanted, live, frozen["data"]["template"], fresh["data"]["template"])
        else:
            target = _same(fresh, revisions.stored) or fresh
    prepared = target is not None and _is_prepared(wanted, view, revisions.running)
    running = target if prepared else revisions.running
    if target is not None and (why := revision.why_failed(target)):
        before = revision.last_completed(revisions.stored, target["metadata"]["name"])
        if before is not None:
            prepared, running = False, before
            view = replace(view, rolled_back=rolled_back(target, before, why))
    view = replace(view, update=update, updated_revision=target["metadata"]["name"] if target else None)
    if running is None:
        return view
    try:
        if signing.is_mounted(running["data"]["template"]):
            await context.signing.ensure(context.cluster, service)
        if prepared and target is not None:
            await apply_owned(context.cluster, own_fields(target), service)
        for child in (plan_service.build(service, wanted), disruption.build(service, wanted)):
            await apply_owned(context.cluster, child, service)
        live_deployment = await apply_owned(
            context.cluster, deployment.build(service, wanted, running, view.lent), service
        )
    except REFUSALS as error:
        return replace(view, trouble=Finding(False, refusal_reason(error), str(error), stalled=True))
    return replace(view, deployment=live_deployment)


def _same(fresh: Object, stored: Sequence[Object]) -> Object | None:
    name = fresh["metadata"]["name"]
    return next((item for item in stored if item["metadata"]["name"] == name), None)


def _is_prepared(service: Resolved, view: View, running: Object | None) -> bool:
    if not all(model_status.is_present(item.status) for item in view.models):
        return False
    if service.bank_name is None or view.compiles_in_pods:
        return True
    status = (view.bank or {}).get("status") or {}
    if status.get("stale") and running is not None and running["data"]["uses"]["bank"] != service.bank_name:
        return False  # what runs goes on: a bank that cannot be loaded is no reason to replace it
    return set(service.bucket_keys) <= bank_status.finished_keys(status)


def _edit(revisions: Revisions, wanted: Resolved, view: View) -> Object | None:
    """What is being rolled out over the revision that served last."""
    current = next((item for item in revisions.stored if item["metadata"]["name"] == view.current_revision), None)
    return to_status(since(current, wanted)) if current is not None else None


async def observe(service: Object, view: View, context: Context) -> View:
    """Add what the Deployment and the replicas' pods say."""
    metadata = service["metadata"]
    if view.deployment is None and view.trouble is None:
        live = await context.cluster.get(Ref("apps/v1", "Deployment", metadata["namespace"], metadata["name"]))
        view = replace(view, deployment=live if live is not None and is_owned(live, service) else None)
    labels = {naming.SERVICE_LABEL: metadata["name"], naming.COMPONENT: "server"}
    observed = await pods_of(context, metadata["namespace"], labels, None)
    context.signing.missed(service, observed)
    said = await answers(context.runtime.readiness, observed.pods)
    selector = f"{naming.SERVICE_LABEL}={metadata['name']}"
    current = ((service.get("status") or {}).get("revision") or {}).get("current")
    return replace(view, observed=observed, readiness=said, selector=selector, current_revision=current)
