"""A turn for an SDXLTuneBank with a part for each class of nodes: the volume, the parts, what they accepted."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from sdxl_operator import naming
from sdxl_operator.api.profile import ProfileSpec
from sdxl_operator.cluster import Forbidden
from sdxl_operator.naming import Key, Object, Ref
from sdxl_operator.plan import bank as plan_bank
from sdxl_operator.plan import claim as plan_claim
from sdxl_operator.reconcile.children import REFUSALS, apply_owned, refusal_reason
from sdxl_operator.reconcile.context import Context
from sdxl_operator.reconcile.publish import publish
from sdxl_operator.reconcile.users import User
from sdxl_operator.reconcile.work import stop_unfinished
from sdxl_operator.status import bank as bank_status
from sdxl_operator.status import bank_classes, node_class
from sdxl_operator.status.conditions import Finding
from sdxl_operator.status.node_class import NodeClass
from sdxl_operator.status.usage import Usage
from sdxl_operator.status.work import Standing


async def classes_of(bank: Mapping[str, Any], context: Context) -> list[NodeClass]:
    """The classes of nodes that a bank needs a part for; none where one bank does for all.

    That is so where the profile has no identity labels, where the operator may not read nodes, while there is no node
    of the profile's, and for a bank that is imported.
    """
    if bank["spec"].get("from"):
        return []
    found = await context.cluster.get(Ref(naming.API_VERSION, naming.PROFILE, "", bank["spec"]["profile"]))
    try:
        profile = ProfileSpec.model_validate((found or {}).get("spec") or {})
    except ValidationError:
        return []  # the bank's own turn says so
    if not profile.identity_labels:
        return []
    try:
        return node_class.classes(await context.cluster.list("v1", "Node"), profile)
    except Forbidden:
        return []


async def nodes_of_part(part: Mapping[str, Any], context: Context) -> frozenset[str] | None:
    """The nodes that a part is for; None for a bank that is for all."""
    labels = part["spec"].get("nodeClass")
    if not labels:
        return None
    found = await classes_of(part, context)
    return frozenset(name for each in found if each.labels == labels for name in each.nodes)


async def reconcile_whole(
    bank: Object,
    found: Sequence[NodeClass],
    users: Sequence[User],
    wanted: Sequence[str],
    usage: Usage,
    claim: str,
    context: Context,
) -> Object:
    """See that each class has its part while somebody uses the bank, and publish what all parts come to."""
    namespace, now = bank["metadata"]["namespace"], context.now()
    volume = plan_claim.build(bank, naming.BANK_LABEL, "bank")
    interested = [Key(naming.SERVICE, namespace, user.name) for user in users]
    await stop_unfinished(bank, naming.BANK_LABEL, context)  # of the time before there were classes
    try:
        if volume is not None:
            await apply_owned(context.cluster, volume, bank)
        for each in found if users else ():
            await apply_owned(context.cluster, plan_bank.of_class(bank, each.labels), bank)
        parts = await parts_of(bank, context)
        status = _status(bank, found, parts, wanted, usage, claim, context)
        if status.get("identity"):
            await apply_owned(context.cluster, _accepted(bank, status["identity"], parts), bank)
    except REFUSALS as error:
        refused = Standing(Finding(False, refusal_reason(error), str(error), stalled=True))
        status = bank_status.build({**bank, "status": {}}, refused, None, wanted, usage, claim, now)
        parts = []
    own = [Key(naming.BANK, namespace, part["metadata"]["name"]) for part in parts]
    if bank_status.disputed(status, [user.status for user in users]):
        for key in own:  # which of them a complaint is about, each finds out
            context.enqueue(key)
    await publish(bank, status, context, [*interested, *own])
    return status


async def parts_of(bank: Mapping[str, Any], context: Context) -> list[Object]:
    """The parts of a bank, also those whose class has no node any more: their pods may still run."""
    metadata = bank["metadata"]
    labels = {naming.WHOLE_BANK_LABEL: metadata["name"]}
    return list(await context.cluster.list(naming.API_VERSION, naming.BANK, metadata["namespace"], labels))


def _status(
    bank: Object,
    found: Sequence[NodeClass],
    parts: Sequence[Object],
    wanted: Sequence[str],
    usage: Usage,
    claim: str,
    context: Context,
) -> Object:
    by_labels = {tuple(sorted((part["spec"].get("nodeClass") or {}).items())): part for part in parts}
    pairs = ((each, by_labels.get(tuple(sorted(each.labels.items())))) for each in found)
    present = [(each, part) for each, part in pairs if part is not None]
    return bank_classes.build(bank, present, parts, wanted, usage, claim, context.now())


def _accepted(bank: Object, identity: str, parts: Sequence[Object]) -> Object:
    entries = {
        said["identity"]: said.get("entries") or []
        for part in parts
        if (said := bank_classes.status_of(part)).get("identity")
    }
    return plan_bank.accepted(bank, identity, entries.pop(identity), entries)
