"""Who could lend an accelerator to a bank's compile Job, and whether the Job waits for one."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from sdxl_operator import naming
from sdxl_operator.api.profile import ProfileSpec
from sdxl_operator.naming import Object
from sdxl_operator.plan import placement
from sdxl_operator.plan.placement import Candidate, Placed
from sdxl_operator.reconcile.context import Context
from sdxl_operator.reconcile.users import User
from sdxl_operator.status.conditions import parse_time


def place_job(
    bank: Mapping[str, Any],
    profile: ProfileSpec,
    candidates: Sequence[Candidate],
    pods: Sequence[Object],
    at_work: bool,
    context: Context,
) -> tuple[Placed, str]:
    """Where the compile Job with these pods stands, and the scheduler's word if it waits for an accelerator."""
    before = Placed.of(bank.get("status") or {})
    if profile.resource is None:
        return Placed(), ""
    resource = profile.resource.name
    missing = "".join(placement.shortage(pod, resource, _age(pod, context)) for pod in pods[-1:])
    return placement.of_job(missing, at_work, candidates, before, resource), missing


async def candidates_of(
    bank: Mapping[str, Any], profile: ProfileSpec, users: Sequence[User], nodes: Container[str] | None, context: Context
) -> list[Candidate]:
    """The services that use a bank, with how many accelerators their replicas hold.

    Where a bank is for some `nodes` only, a service whose replicas are on others too holds none that it could lend:
    which replica goes when there is to be one less, is not for the operator to say.
    """
    resource = profile.resource.name if profile.resource else ""
    found = []
    for user in users:
        pods = await replicas_of(bank, user.name, context)
        where = [pod["spec"]["nodeName"] for pod in pods if _holds(pod, resource)]
        holding = len(where) if nodes is None or all(name in nodes for name in where) else 0
        holding = 0 if user.paused else holding  # nothing is applied for a paused one: it can give nothing up
        found.append(Candidate(user.name, holding, user.spec.compile.placement, user.spec.compile.borrow))
    return found


async def replicas_of(bank: Mapping[str, Any], service: str, context: Context) -> list[Object]:
    """The pods of a service that uses a bank."""
    labels = {naming.SERVICE_LABEL: service, naming.COMPONENT: "server"}
    return list(await context.cluster.list("v1", "Pod", bank["metadata"]["namespace"], labels))


def _holds(pod: Mapping[str, Any], resource: str) -> bool:
    """Whether a pod has the resource and keeps it if nobody asks for it; none holds a resource without a name."""
    if not pod["spec"].get("nodeName") or pod["metadata"].get("deletionTimestamp"):
        return False
    return any(resource in (item.get("resources", {}).get("limits") or {}) for item in pod["spec"]["containers"])


def _age(pod: Mapping[str, Any], context: Context) -> float:
    return (context.now() - parse_time(pod["metadata"]["creationTimestamp"])).total_seconds()
