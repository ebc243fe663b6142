"""What a service's status says of the SDXLModels that it uses: the model, its refiner, its adapters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sdxl_operator.naming import Condition, ModelUse, Object, Reason
from sdxl_operator.status.conditions import Finding
from sdxl_operator.status.pods import condition_of


@dataclass(frozen=True, slots=True)
class UsedModel:
    """An SDXLModel that a service uses, and how it was seen; None where it was not looked at."""

    use: ModelUse
    live: Object | None = None

    @property
    def status(self) -> Object:
        """Its status, empty before its first turn."""
        return dict((self.live or {}).get("status") or {})


def of_child(child: Mapping[str, Any] | None, otherwise: Finding) -> Finding:
    """A model's or bank's own Ready condition, in its own words."""
    ready = condition_of(child, "Ready") if child else {}
    if not ready:
        return otherwise
    stalled = bool(condition_of(child or {}, Condition.STALLED.value))
    return Finding(ready["status"] == "True", Reason(ready["reason"]), ready["message"], stalled=stalled)


def of_models(models: Sequence[UsedModel]) -> Finding:
    """Whether all are there; else what one of them waits for, one that waiting does not help before the others."""
    found = [(item.use, of_child(item.live, Finding(False, Reason.WAITING_FOR_MODEL))) for item in models]
    missing = [pair for pair in found if not pair[1].holds]
    if not missing:
        said = "; ".join(_said(*pair, among=found) for pair in found)
        return Finding(True, Reason.MODEL_PRESENT, said)
    use, first = next((pair for pair in missing if pair[1].stalled), missing[0])
    return Finding(False, first.reason, _said(use, first, among=found), stalled=first.stalled)


def members(models: Sequence[UsedModel]) -> Object:
    """The members of status that name them; empty ones are not written. `naming.model_uses` is the inverse."""
    names = {item.use.role: item.use.name for item in models}
    adapters = [
        {"name": role.removeprefix("adapters/"), "model": name}
        for role, name in names.items()
        if role.startswith("adapters/")
    ]
    return {"model": names.get("model"), "refiner": names.get("refiner"), "adapters": adapters}


def _said(use: ModelUse, finding: Finding, among: Sequence[object]) -> str:
    """The finding's sentence; where there are several models, with which of them it is about."""
    return finding.sentence if len(among) == 1 else f"{use.words} ({use.name}): {finding.sentence}"
