"""What an edit would cost and bring, before it is made. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sdxl_operator.impact import IMPACTS, Edit, Impact, classify
from sdxl_operator.kubectl import estimate
from sdxl_operator.kubectl.text import Style, facts, table
from sdxl_operator.naming import Object
from sdxl_operator.plan.resolved import Resolved
from sdxl_operator.status.bank import finished_keys
from sdxl_operator.status.history import comparable
from sdxl_operator.status.model import is_present


@dataclass(frozen=True, slots=True)
class Seen:
    """What is there now: the service's status, and models and banks by name, also those of other services."""

    status: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Object] = field(default_factory=dict)
    banks: Mapping[str, Object] = field(default_factory=dict)


def preview(before: Resolved, after: Resolved, seen: Seen, style: Style) -> list[str]:
    """The lines: the class, each field with its own, and what is fetched, compiled and replaced."""
    edit = classify(before, after)
    title = style.bold(f"{after.namespace}/{after.name}")
    if not edit.changes:
        return [f"{title}: nothing differs from what is in the cluster"]
    paint = style.waits if edit.replaces_pods else style.good
    lines = [f"{title}: {paint(edit.impact)}", IMPACTS[edit.impact], "", *_fields(edit)]
    return [*lines, "", *facts(_work(before, after, seen))] if edit.replaces_pods else lines


def creation(service: Resolved, seen: Seen, style: Style) -> list[str]:
    """The lines about a service that is not there yet."""
    title = style.bold(f"{service.namespace}/{service.name}")
    return [f"{title}: there is no such service yet, so all of it is made", "", *facts(_made(service, None, seen))]


def _fields(edit: Edit) -> list[str]:
    dearest_first = sorted(edit.changes, key=lambda change: list(Impact).index(change.impact), reverse=True)
    return table(("EDIT", "COSTS", "WHY"), ((c.difference.words, c.impact, c.why) for c in dearest_first))


def _work(before: Resolved, after: Resolved, seen: Seen) -> Iterator[tuple[str, str]]:
    yield from _made(after, before, seen)
    if after.spec.suspend or not after.spec.replicas:
        yield "Replaces", "no replica: none is asked for"
        return
    surge = after.spec.rollout.strategy == "Surge"
    how = "each new one started before an old one goes" if surge else "each old one stopped before a new one starts"
    count = f"{after.spec.replicas} replica{'s' if after.spec.replicas > 1 else ''}"
    yield "Replaces", f"{count}, {after.spec.rollout.max_unavailable} at a time, {how}"
    yield "takes", estimate.replacing(after.spec, seen.status)


def _made(after: Resolved, before: Resolved | None, seen: Seen) -> Iterator[tuple[str, str]]:
    missing = [item for item in after.weights if not is_present((seen.models.get(item.name) or {}).get("status") or {})]
    names = (f"{item.use.words} from {item.spec['source']} into {item.name}" for item in missing)
    yield "Fetches", "; ".join(names) or "nothing: all files are there"
    if missing:
        yield "takes", estimate.UNKNOWN
    if after.bank_name is None:
        yield "Compiles", "nothing: there is no tune bank"
        return
    bank = seen.banks.get(after.bank_name)
    keys = _to_compile(after, bank)
    if not keys:
        yield "Compiles", f"nothing: {after.bank_name} has every bucket"
        return
    yield "Compiles", f"{len(keys)} of {len(after.bucket_keys)} buckets into {after.bank_name}: {', '.join(keys)}"
    own = seen.banks.get(before.bank_name or "") if before is not None else None
    banks = comparable(after.bank or after.own_bank, [bank, own, *seen.banks.values()])
    yield "takes", estimate.compiling(keys, banks)


def _to_compile(service: Resolved, bank: Mapping[str, Any] | None) -> Sequence[str]:
    finished = finished_keys((bank or {}).get("status") or {})
    return [key for key in service.bucket_keys if key not in finished]
