"""A turn for an SDXLModel: its claim, its fetch Job, who uses it, and its end."""

from collections.abc import Mapping
from typing import Any

from sdxl_operator import naming
from sdxl_operator.api.resource import Retention
from sdxl_operator.api.service import ServiceSpec
from sdxl_operator.naming import Key, Object, Ref
from sdxl_operator.plan import claim as plan_claim
from sdxl_operator.plan import model as plan_model
from sdxl_operator.plan.model import Demand
from sdxl_operator.plan.weights import claim_name
from sdxl_operator.reconcile.context import POLL, SOON, Context, Requeue, until
from sdxl_operator.reconcile.observe import answers
from sdxl_operator.reconcile.publish import publish
from sdxl_operator.reconcile.users import User, users_of_model
from sdxl_operator.reconcile.work import run, stop_others
from sdxl_operator.status import model as model_status
from sdxl_operator.status.usage import Usage
from sdxl_operator.status.work import Standing


async def reconcile_model(model: Object, context: Context) -> Requeue | None:
    """Fetch what is not there, and remove what nobody uses."""
    metadata = model["metadata"]
    users, mounted = await users_of_model(context.cluster, metadata)
    claim = claim_name(model["spec"].get("volume") or {}, metadata["name"])
    model = await _without_lost_files(model, claim, context)
    present = model_status.is_present(model.get("status") or {})
    now = context.now()
    usage = Usage.of([*(user.name for user in users), *mounted], _wishes(users), model.get("status") or {}, now)
    if usage.is_new(metadata["creationTimestamp"], now):
        return Requeue(SOON)
    expiry = usage.expires_at(not present, context.settings.retention_grace_seconds)
    if expiry is not None and expiry <= now:
        await context.cluster.delete(Ref.of(model), metadata["uid"])
        return None
    standing, progress = (None, None) if present else await _fetch(model, users, context)
    status = model_status.build(model, standing, usage, claim, now, progress)
    await publish(model, status, context, [Key(naming.SERVICE, metadata["namespace"], user.name) for user in users])
    return _next(standing, expiry, context)


def _next(standing: Standing | None, expiry: Any, context: Context) -> Requeue | None:
    if standing is not None and standing.result is None:
        return until(standing.retry_at, context.now()) if standing.retry_at else Requeue(POLL)
    if standing is not None:
        return Requeue(SOON)
    return until(expiry, context.now()) if expiry is not None else None


def _wishes(users: list[User]) -> list[Retention]:
    return [user.spec.model.retention for user in users]


async def _without_lost_files(model: Object, claim: str, context: Context) -> Object:
    """The model as it is once its claim was deleted: nothing is measured any more, so it is fetched again."""
    ref = Ref("v1", "PersistentVolumeClaim", model["metadata"]["namespace"], claim)
    found = await context.cluster.get(ref)
    if found is not None and not found["metadata"].get("deletionTimestamp"):
        return model
    if model_status.is_present(model.get("status") or {}):
        # a Job that ended tells of the claim that went
        await stop_others(model, "", naming.MODEL_LABEL, model_status.WORDS.component, context)
    kept = {name: value for name, value in (model.get("status") or {}).items() if name not in model_status.MEASURED}
    return {**model, "status": kept}


async def _fetch(
    model: Mapping[str, Any], users: list[User], context: Context
) -> tuple[Standing | None, Object | None]:
    """How the fetch Job stands, and what it says of its progress."""
    image = context.settings.fetch_image or await _profile_image(users, context)
    if not users or not image:
        await stop_others(model, "", naming.MODEL_LABEL, model_status.WORDS.component, context)
        return Standing(model_status.unused()), None
    settings = context.settings
    demand = Demand.of(model["metadata"]["name"], [user.spec for user in users])
    job = plan_model.fetch_job(model, image, settings.fetch_image_pull_policy, demand, settings.fetch_environment)
    claim = plan_claim.build(model, naming.MODEL_LABEL, "model")
    standing, pods = await run(model, claim, job, naming.MODEL_LABEL, model_status.WORDS, context)
    said = await answers(context.runtime.progress, pods.pods)
    return standing, next(iter(said.values()), None)


async def _profile_image(users: list[User], context: Context) -> str:
    """Without an image of its own, fetch runs in the image of the first user's profile."""
    for user in users:
        spec: ServiceSpec = user.spec
        profile = await context.cluster.get(Ref(naming.API_VERSION, naming.PROFILE, "", spec.accelerator.profile))
        if profile is not None:
            return str(profile["spec"]["image"])
    return ""
