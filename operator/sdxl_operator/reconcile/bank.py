"""A turn for an SDXLTuneBank: its claim, its compile Job, the accepted digests, who uses it, and its end."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from sdxl_operator import naming
from sdxl_operator.api.profile import ProfileSpec
from sdxl_operator.naming import Key, Object, Reason, Ref
from sdxl_operator.plan import bank as plan_bank
from sdxl_operator.plan import claim as plan_claim
from sdxl_operator.plan.bank import Demand
from sdxl_operator.plan.weights import claim_name
from sdxl_operator.reconcile.children import REFUSALS, apply_owned, refusal_reason
from sdxl_operator.reconcile.context import POLL, SOON, Context, Requeue, until
from sdxl_operator.reconcile.observe import answers
from sdxl_operator.reconcile.publish import publish
from sdxl_operator.reconcile.users import users_of_bank
from sdxl_operator.reconcile.work import run, stop_others
from sdxl_operator.status import bank as bank_status
from sdxl_operator.status import model as model_status
from sdxl_operator.status.conditions import Finding
from sdxl_operator.status.usage import Usage
from sdxl_operator.status.work import Standing

CONTENT = ("entries", "identity", "compileSeconds")


async def reconcile_bank(bank: Object, context: Context) -> Requeue | None:
    """Compile what is wanted and not there, publish the accepted digests, and remove what nobody uses."""
    metadata, now = bank["metadata"], context.now()
    users, mounted = await users_of_bank(context.cluster, metadata)
    claim = claim_name(bank["spec"].get("volume") or {}, metadata["name"])
    bank = await _without_lost_content(bank, claim, context)
    wishes = [user.spec.tune_bank.retention for user in users]
    usage = Usage.of([*(user.name for user in users), *mounted], wishes, bank.get("status") or {}, now)
    empty = not bank_status.finished_keys(bank.get("status") or {})
    if usage.is_new(metadata["creationTimestamp"], now):
        return Requeue(SOON)
    expiry = usage.expires_at(empty, context.settings.retention_grace_seconds)
    if expiry is not None and expiry <= now:
        await context.cluster.delete(Ref.of(bank), metadata["uid"])
        return None
    known = {entry["key"] for entry in (bank.get("status") or {}).get("entries") or []}
    demand = Demand.of([user.asks(known) for user in users])
    standing, progress = await _compile(bank, demand, context)
    bank = bank_status.without_other_identity(bank, standing)
    status = bank_status.build(bank, standing, progress, demand.keys, usage, claim, now)
    if status.get("identity"):
        try:
            await apply_owned(context.cluster, plan_bank.accepted(bank, status["identity"], status["entries"]), bank)
        except REFUSALS as error:
            standing = Standing(Finding(False, refusal_reason(error), str(error), stalled=True))
            status = bank_status.build({**bank, "status": {}}, standing, None, demand.keys, usage, claim, now)
    await publish(bank, status, context, [Key(naming.SERVICE, metadata["namespace"], user.name) for user in users])
    if standing is None:
        return until(expiry, now) if expiry is not None else None
    if standing.result is not None:
        # A Job that leaves out what it was asked for is looked at again, but not every second.
        return Requeue(SOON if set(demand.keys) <= bank_status.finished_keys(status) else POLL * 20)
    return until(standing.retry_at, now) if standing.retry_at else Requeue(POLL)


async def _without_lost_content(bank: Object, claim: str, context: Context) -> Object:
    """The bank as it is once its claim was deleted: empty, so everything is compiled again."""
    ref = Ref("v1", "PersistentVolumeClaim", bank["metadata"]["namespace"], claim)
    found = await context.cluster.get(ref)
    if found is not None and not found["metadata"].get("deletionTimestamp"):
        return bank
    if any(name in (bank.get("status") or {}) for name in CONTENT):
        # a Job that ended tells of the claim that went
        await stop_others(bank, "", naming.BANK_LABEL, bank_status.WORDS.component, context)
    return {
        **bank,
        "status": {name: value for name, value in (bank.get("status") or {}).items() if name not in CONTENT},
    }


async def _compile(bank: Object, demand: Demand, context: Context) -> tuple[Standing | None, Object | None]:
    """How the compile Job stands, None where none is needed, and what it says of its progress."""
    if set(demand.keys) <= bank_status.finished_keys(bank.get("status") or {}):
        if not demand.keys:
            await stop_others(bank, "", naming.BANK_LABEL, bank_status.WORDS.component, context)
        return None, None
    profile, model = await _profile(bank, context), await _model(bank, context)
    if isinstance(profile, Finding):
        return Standing(profile), None
    if isinstance(model, Finding):
        return Standing(model), None
    job = plan_bank.compile_job(bank, profile, demand, model)
    claim = plan_claim.build(bank, naming.BANK_LABEL, "bank")
    standing, pods = await run(bank, claim, job, naming.BANK_LABEL, bank_status.WORDS, context)
    said = await answers(context.runtime.progress, pods.pods)
    return standing, next(iter(said.values()), None)


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
