"""A turn for an SDXLTuneBank: its claim, its compile or import Job, the accepted digests, who uses it, and its end."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from sdxl_operator import naming
from sdxl_operator.accept import registry_refused
from sdxl_operator.api.profile import ProfileSpec
from sdxl_operator.naming import Key, Object, Reason, Ref
from sdxl_operator.plan import bank as plan_bank
from sdxl_operator.plan import claim as plan_claim
from sdxl_operator.plan import placement
from sdxl_operator.plan.bank import Demand
from sdxl_operator.plan.bank_import import allowed_by, import_job
from sdxl_operator.plan.placement import Method, Placed
from sdxl_operator.plan.weights import claim_name
from sdxl_operator.reconcile.bank_classes import classes_of, nodes_of_part, reconcile_whole
from sdxl_operator.reconcile.children import REFUSALS, apply_owned, refusal_reason
from sdxl_operator.reconcile.context import POLL, SOON, Context, Requeue, until
from sdxl_operator.reconcile.observe import answers, pods_of
from sdxl_operator.reconcile.placing import candidates_of, place_job
from sdxl_operator.reconcile.publish import publish
from sdxl_operator.reconcile.users import User, users_of_bank
from sdxl_operator.reconcile.work import run, stop_others, stop_unfinished
from sdxl_operator.status import bank as bank_status
from sdxl_operator.status import bank_classes
from sdxl_operator.status import model as model_status
from sdxl_operator.status.bank_progress import needs_others
from sdxl_operator.status.conditions import Finding
from sdxl_operator.status.history import comparable
from sdxl_operator.status.pods import Observed, is_initialising, is_running, oldest_first
from sdxl_operator.status.usage import Usage
from sdxl_operator.status.work import Standing, Words, in_pods

CONTENT = ("entries", "identity", "compileSeconds", "stale")


async def reconcile_bank(bank: Object, context: Context) -> Requeue | None:
    """Compile or import what is wanted and not there, publish the accepted digests, and remove what nobody uses."""
    metadata, now = bank["metadata"], context.now()
    whole = await _whole(bank, context)
    if whole is None:
        return None  # it goes with the bank that it is a part of
    is_part = whole is not bank
    users, mounted = await users_of_bank(context.cluster, whole["metadata"])
    if is_part:
        users, mounted = users if bank_classes.row_of(whole, metadata["name"]) else [], []
    claim = claim_name(bank["spec"].get("volume") or {}, whole["metadata"]["name"])
    bank = await _without_lost_content(bank, claim, context)
    wishes = [user.spec.tune_bank.retention for user in users]
    usage = Usage.of([*(user.name for user in users), *mounted], wishes, bank.get("status") or {}, now)
    empty = not bank_status.finished_keys(bank.get("status") or {})
    if usage.is_new(metadata["creationTimestamp"], now):
        return Requeue(SOON)
    expiry = None if is_part else usage.expires_at(empty, context.settings.retention_grace_seconds)
    if expiry is not None and expiry <= now:
        await context.cluster.delete(Ref.of(bank), metadata["uid"])
        return None
    known = {entry["key"] for entry in (bank.get("status") or {}).get("entries") or []}
    said = [user.status for user in users]
    again = bank_status.disputed(bank.get("status") or {}, said)
    demand = Demand.of([user.asks(known) for user in users])
    if is_part:
        again |= bank_classes.complaints(whole, said)
    elif classes := await classes_of(bank, context):
        status = await reconcile_whole(bank, classes, users, demand.keys, usage, claim, context)
        if expiry is not None:
            return until(expiry, now)
        return None if set(demand.keys) <= bank_status.finished_keys(status) else Requeue(POLL)
    if again:
        entries = (bank.get("status") or {}).get("entries") or []
        digests = {entry["key"]: entry.get("digest") for entry in entries if entry["key"] in again}
        doubted = tuple(sorted(key for key, reason in again.items() if reason in bank_status.DOUBTED))
        demand = replace(demand, again=naming.digest([again, digests]), disputed=doubted)
    standing, progress, placed = await _fill(bank, demand, users, whole, context)
    bank = bank_status.without_other_identity(bank, standing)
    others = await _others(bank, progress, context)
    status = bank_status.build(bank, standing, progress, demand.keys, usage, claim, now, again, others)
    if placed is not None:
        status["placement"] = placed.to_status()
    if status.get("identity") and not is_part:
        try:
            await apply_owned(context.cluster, plan_bank.accepted(bank, status["identity"], status["entries"]), bank)
        except REFUSALS as error:
            standing = Standing(Finding(False, refusal_reason(error), str(error), stalled=True))
            status = bank_status.build({**bank, "status": {}}, standing, None, demand.keys, usage, claim, now)
    services = [Key(naming.SERVICE, metadata["namespace"], user.name) for user in users]
    interested = [Key(naming.BANK, metadata["namespace"], whole["metadata"]["name"])] if is_part else services
    await publish(bank, status, context, interested)
    if standing is None:
        return until(expiry, now) if expiry is not None else None
    if standing.result is not None:
        # A Job that leaves out what it was asked for is looked at again, but not every second.
        return Requeue(SOON if set(demand.keys) <= bank_status.finished_keys(status) else POLL * 20)
    return until(standing.retry_at, now) if standing.retry_at else Requeue(POLL)


async def _whole(bank: Object, context: Context) -> Object | None:
    """The bank that this one is a part of, for one class of nodes; most are parts of nothing: the bank itself."""
    name = naming.whole_bank(bank)
    if name == bank["metadata"]["name"]:
        return bank
    return await context.cluster.get(Ref(naming.API_VERSION, naming.BANK, bank["metadata"]["namespace"], name))


async def _without_lost_content(bank: Object, claim: str, context: Context) -> Object:
    """The bank as it is once its claim was deleted: empty, so everything is compiled again."""
    ref = Ref("v1", "PersistentVolumeClaim", bank["metadata"]["namespace"], claim)
    found = await context.cluster.get(ref)
    if found is not None and not found["metadata"].get("deletionTimestamp"):
        return bank
    if any(name in (bank.get("status") or {}) for name in CONTENT):
        # a Job that ended tells of the claim that went
        await stop_others(bank, "", naming.BANK_LABEL, bank_status.words(bank).component, context)
    return {
        **bank,
        "status": {name: value for name, value in (bank.get("status") or {}).items() if name not in CONTENT},
    }


async def _fill(
    bank: Object, demand: Demand, users: Sequence[User], whole: Object, context: Context
) -> tuple[Standing | None, Object | None, Placed | None]:
    """How the Job stands, None where none is needed, what it says of its progress, and where it is done."""
    words = bank_status.words(bank)
    before = (bank.get("status") or {}).get("placement")
    ended = replace(Placed.of(bank["status"]), lender=None) if before else None
    if set(demand.keys) <= bank_status.finished_keys(bank.get("status") or {}) and not demand.again:
        await stop_unfinished(bank, naming.BANK_LABEL, context)
        return None, None, ended
    first = bank_classes.whose_turn(whole) if whole is not bank else ""
    if first not in ("", bank["metadata"]["name"]):
        text = f"SDXLTuneBank {first}, which is for other nodes and on the same volume, is made first"
        return Standing(Finding(False, words.at_work, text)), None, ended
    profile, model = await _profile(bank, context), await _model(bank, context)
    if isinstance(profile, Finding):
        return Standing(profile), None, ended
    if isinstance(model, Finding):
        return Standing(model), None, ended
    source = bank["spec"].get("from")
    if source:
        if allowed_by(source, profile.bank_registries) is None:
            return Standing(registry_refused(source, bank["spec"]["profile"], profile.bank_registries)), None, None
        job = import_job(bank, profile, demand, model)
        standing, pods = await _run(bank, job, words, context)
        return standing, await _said(pods.pods, context), None
    nodes, previous = await nodes_of_part(bank, context), Placed.of(bank.get("status") or {})
    candidates = await candidates_of(bank, profile, users, nodes, context)
    if placement.by_wish(candidates) is Method.INIT_CONTAINER or placement.stays_in_pods(candidates, previous):
        return await _in_pods(bank, demand, users, nodes, previous, context)
    standing, pods = await _run(bank, plan_bank.compile_job(bank, profile, demand, model), words, context)
    at_work = standing.result is None and standing.retry_at is None and not standing.failure
    placed, shortage = place_job(bank, profile, candidates, pods.pods, at_work, context)
    if shortage:
        waits = Finding(False, Reason.WAITING_FOR_ACCELERATOR, placed.message, stalled=placed.lender is None)
        standing = replace(standing, finding=waits)
    return standing, await _said(pods.pods, context), placed


async def _run(bank: Object, job: Object, words: Words, context: Context) -> tuple[Standing, Observed]:
    claim = _own_claim(bank)
    return await run(bank, claim, job, naming.BANK_LABEL, words, context)


def _own_claim(bank: Object) -> Object | None:
    """The claim to make: a part's is its whole's."""
    own = naming.whole_bank(bank) == bank["metadata"]["name"]
    return plan_claim.build(bank, naming.BANK_LABEL, "bank") if own else None


async def _said(pods: Sequence[Object], context: Context) -> Object | None:
    """What the Job says of its progress: empty where no pod of it runs, None where one does not answer."""
    said = await answers(context.runtime.progress, pods)
    return next(iter(said.values()), None) if any(map(is_running, pods)) else {}


async def _others(bank: Mapping[str, Any], said: Mapping[str, Any] | None, context: Context) -> Sequence[Object]:
    """The banks of the namespace that know how long buckets take, where the Job itself does not."""
    if not needs_others(said):
        return ()
    found = await context.cluster.list(naming.API_VERSION, naming.BANK, bank["metadata"]["namespace"])
    return comparable(bank["spec"], found)


async def _in_pods(
    bank: Object,
    demand: Demand,
    users: Sequence[User],
    nodes: Container[str] | None,
    previous: Placed,
    context: Context,
) -> tuple[Standing, Object | None, Placed]:
    """How replicas stand that compile before they serve; the claim is made here, since they mount it."""
    await stop_unfinished(bank, naming.BANK_LABEL, context)
    placed = Placed(Method.INIT_CONTAINER, message=previous.message if previous.method is Method.INIT_CONTAINER else "")
    try:
        claim = _own_claim(bank)
        if claim is not None:
            await apply_owned(context.cluster, claim, bank)
    except REFUSALS as error:
        return Standing(Finding(False, refusal_reason(error), str(error), stalled=True)), None, placed
    namespace = bank["metadata"]["namespace"]
    found = [
        await pods_of(context, namespace, {naming.SERVICE_LABEL: user.name, naming.COMPONENT: "server"}, None)
        for user in users
    ]
    seen = Observed(
        oldest_first(
            pod
            for each in found
            for pod in each.pods
            if pod["spec"].get("initContainers") and (nodes is None or pod["spec"].get("nodeName") in nodes)
        ),
        {name: text for each in found for name, text in each.claim_troubles.items()},
        {name: text for each in found for name, text in each.pod_troubles.items()},
    )
    standing = in_pods(seen, set(demand.keys), bank.get("status") or {}, bank_status.WORDS)
    said = await answers(context.runtime.progress, seen.pods, is_initialising)
    progress = next(iter(said.values()), None) if any(map(is_initialising, seen.pods)) else {}
    return standing, progress, placed


async def _profile(bank: Mapping[str, Any], context: Context) -> ProfileSpec | Finding:
    name = bank["spec"]["profile"]
    found = await context.cluster.get(Ref(naming.API_VERSION, naming.PROFILE, "", name))
    if found is None:
        return Finding(False, Reason.PROFILE_NOT_FOUND, f"there is no AcceleratorProfile {name}", stalled=True)
    try:
        return ProfileSpec.model_validate(found["spec"])
    except ValidationError as error:
        return Finding(False, Reason.PROFILE_INVALID, f"AcceleratorProfile {name}: {error}", stalled=True)


async def _model(bank: Mapping[str, Any], context: Context) -> Object | Finding:
    namespace, name = bank["metadata"]["namespace"], bank["spec"]["model"]["name"]
    model = await context.cluster.get(Ref(naming.API_VERSION, naming.MODEL, namespace, name))
    if model is None or not model_status.is_present(model.get("status") or {}):
        return Finding(False, Reason.WAITING_FOR_MODEL, f"SDXLModel {name} is not ready yet")
    return model
