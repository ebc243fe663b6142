"""Edits between a stored revision and a service: what is being rolled out, and what brings an old one back. Pure."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from sdxl_operator.api import ServiceSpec
from sdxl_operator.api.service import Placement
from sdxl_operator.impact import SERVICE_FIELDS, Edit, Impact, classify, cost_of
from sdxl_operator.naming import Object
from sdxl_operator.plan.resolved import Resolved
from sdxl_operator.plan.revision import stored_profile

FIELDS_SHOWN = 8


def since(revision: Mapping[str, Any], wanted: Resolved) -> Edit:
    """What replaces pods on the way from a revision to the service that is wanted.

    Nothing is known of a revision by a newer operator that this one cannot read.
    """
    try:
        spec = ServiceSpec.model_validate(revision["data"]["spec"])
        frozen = Resolved(wanted.namespace, wanted.name, spec, stored_profile(revision))
    except ValidationError:
        return Edit()
    return classify(frozen, wanted).of_pods


def to_status(edit: Edit) -> Object | None:
    """`status.rollout`; None where no pod is replaced."""
    if not edit.replaces_pods:
        return None
    return {"impact": edit.impact.value, "fields": list(edit.paths[:FIELDS_SHOWN])}


def back_to(revision: Mapping[str, Any], spec: ServiceSpec) -> Object:
    """The merge patch that makes a service's spec what a revision froze of it; empty if it is that already.

    Fields that no revision freezes (replicas, suspend, expose and the like) stay, as with `kubectl rollout undo`.

    Raises:
        ValidationError: a newer operator froze what this one cannot read.
    """
    wanted = ServiceSpec.model_validate(revision["data"]["spec"])
    inside = any(model.compile.placement is Placement.INIT_CONTAINER for model in (spec, wanted))
    now, then = (model.model_dump(by_alias=True, mode="json", exclude_none=True) for model in (spec, wanted))
    return _patch(now, then, "", 0 if inside else -1)


def _patch(now: Mapping[str, Any], wanted: Mapping[str, Any], around: str, which: int) -> Object:
    """`which` of a field's impacts counts: where replicas compile, what the compile Job has is frozen as well."""
    patch: Object = {}
    for name in {**now, **wanted}:
        old, new, field = now.get(name), wanted.get(name), f"{around}.{name}".removeprefix(".")
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            if inner := _patch(old, new, field, which):
                patch[name] = inner
        elif old != new and cost_of(field, SERVICE_FIELDS).impacts[which] not in (Impact.NOTHING, Impact.LIVE):
            patch[name] = new
    return patch
