"""What an edit of a service costs: Nothing, Live, Restart, Recompile, Retune or Refetch. Pure.

`fields` has what each field costs and why; here an edit is taken apart into its fields, and the worst of them wins.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sdxl_operator import naming
from sdxl_operator.api import ProfileSpec, ServiceSpec
from sdxl_operator.api.resource import Part
from sdxl_operator.crd import structural
from sdxl_operator.difference import Difference, Labels, by, differences
from sdxl_operator.impact.fields import PROFILE_FIELDS, SERVICE_FIELDS, Cost
from sdxl_operator.impact.kinds import IMPACTS, Impact, applies, worst
from sdxl_operator.plan.resolved import Resolved

__all__ = ["IMPACTS", "PROFILE_FIELDS", "SERVICE_FIELDS", "Change", "Cost", "Edit", "Impact", "classify", "cost_of"]

PROFILE_PATH = "AcceleratorProfile"


@dataclass(frozen=True, slots=True)
class Change:
    """One field of an edit."""

    difference: Difference
    impact: Impact
    why: str


@dataclass(frozen=True, slots=True)
class Edit:
    """What differs between two services, and what that costs."""

    changes: tuple[Change, ...] = ()

    @property
    def impact(self) -> Impact:
        """The worst of its changes."""
        return worst(change.impact for change in self.changes)

    @property
    def replaces_pods(self) -> bool:
        """Whether it makes a new revision."""
        return self.impact.replaces_pods

    @property
    def of_pods(self) -> "Edit":
        """The part of it that makes a new revision."""
        return Edit(tuple(change for change in self.changes if change.impact.replaces_pods))

    @property
    def paths(self) -> tuple[str, ...]:
        """Where it differs, the dearest first."""
        dearest_first = sorted(self.changes, key=lambda change: list(Impact).index(change.impact), reverse=True)
        return tuple(change.difference.path for change in dearest_first)


def classify(before: Resolved, after: Resolved) -> Edit:
    """What it costs to get from one service to the other.

    Each has the profile that its revision freezes. A profile that changed counts only where a new revision is cut, for
    that is when it is taken up.
    """
    changes = list(_changes(before, after, _dump(before.spec), _dump(after.spec), ServiceSpec, SERVICE_FIELDS))
    same_name = before.spec.accelerator.profile == after.spec.accelerator.profile
    if same_name and before.content != after.content:
        found = _changes(before, after, _dump(before.profile), _dump(after.profile), ProfileSpec, PROFILE_FIELDS)
        changes += [_in_profile(change, after.spec.accelerator.profile) for change in found]
    return Edit(tuple(changes))


def of_profile(before: Resolved, after: Resolved) -> Edit:
    """What it costs to take up another profile of the same service, when nothing but that changed."""
    found = _changes(before, after, _dump(before.profile), _dump(after.profile), ProfileSpec, PROFILE_FIELDS)
    return Edit(tuple(_in_profile(change, after.spec.accelerator.profile) for change in found))


def cost_of(field: str, costs: Mapping[str, Cost]) -> Cost:
    """What a field costs: its own row, of a part that comes or goes whole the worst in it, of a map's value the map's.

    Raises:
        KeyError: the table has no row for it, nor for anything around it or in it.
    """
    if field in costs:
        return costs[field]
    inside = [cost for name, cost in costs.items() if name.startswith((f"{field}.", f"{field}["))]
    if inside:
        return max(inside, key=lambda cost: list(Impact).index(cost.impacts[0]))
    around, dot, _ = field.rpartition(".")
    if not dot:
        raise KeyError(field)
    return cost_of(around, costs)


def _changes(
    before: Resolved, after: Resolved, old: Any, new: Any, model: type[Part], costs: Mapping[str, Cost]
) -> Iterator[Change]:
    for difference in differences(old, new, labels_of(model)):
        cost = cost_of(difference.field, costs)
        may = (cost.removed,) if cost.removed and difference.after is None else cost.impacts
        impact = next((impact for impact in may if applies(impact, before, after)), Impact.RESTART)
        yield Change(difference, impact, cost.why)


def _in_profile(change: Change, name: str) -> Change:
    at = change.difference
    path = f"{PROFILE_PATH} {name}: {at.path}"
    return Change(Difference(path, at.field, at.before, at.after), change.impact, change.why)


def _dump(model: Part) -> dict[str, Any]:
    """All fields, those with defaults too: one that is written out and one that is left out are the same."""
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


@cache
def labels_of(model: type[Part]) -> Labels:
    """What the items of each keyed list are called: a bucket by its name, any other by its keys in the schema."""
    found = {field: by(*keys) for field, keys in _keyed(structural(model))}
    return found | {"buckets": naming.bucket_key} if "buckets" in found else found


def _keyed(schema: Mapping[str, Any], field: str = "") -> Iterator[tuple[str, list[str]]]:
    if "x-kubernetes-list-map-keys" in schema:
        yield field, schema["x-kubernetes-list-map-keys"]
    for name, inner in schema.get("properties", {}).items():
        yield from _keyed(inner, f"{field}.{name}".removeprefix("."))
    if "items" in schema:
        yield from _keyed(schema["items"], f"{field}[]")
