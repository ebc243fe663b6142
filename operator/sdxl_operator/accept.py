"""Whether a spec can be carried out: the checks that CEL cannot make, because they need other objects. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from sdxl_operator import naming
from sdxl_operator.api.bank import BankSpec
from sdxl_operator.api.profile import ProfileSpec
from sdxl_operator.api.service import ServiceSpec
from sdxl_operator.naming import Object, Reason
from sdxl_operator.plan.bank_import import allowed_by
from sdxl_operator.plan.resolved import Resolved
from sdxl_operator.status.conditions import Finding, first_failing
from sdxl_operator.status.weights import UsedModel


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a spec cannot be carried out, with as much of it as could be read."""

    finding: Finding
    spec: ServiceSpec


UNREADABLE = ServiceSpec.model_validate(
    {"model": {"source": "demo://shapes"}, "buckets": [{"width": 64, "height": 64}], "replicas": 0}
)
"""Stands in for a spec that cannot be parsed; none of it is carried out."""


def accept(service: Mapping[str, Any], profiles: Sequence[Object]) -> Resolved | Refusal:
    """The service with its profile, or the first reason against it."""
    metadata = service["metadata"]
    try:
        spec = ServiceSpec.model_validate(service["spec"])
    except ValidationError as error:
        return Refusal(Finding(False, Reason.SPEC_INVALID, sentence(error, "spec"), stalled=True), UNREADABLE)
    profile = _profile(spec, metadata["namespace"], profiles)
    if isinstance(profile, Finding):
        return Refusal(profile, spec)
    source = spec.tune_bank.from_
    if source is not None and allowed_by(source, profile.bank_registries) is None:
        return Refusal(registry_refused(source, spec.accelerator.profile, profile.bank_registries), spec)
    return Resolved(metadata["namespace"], metadata["name"], spec, profile)


def registry_refused(source: str, profile: str, registries: Sequence[str]) -> Finding:
    """Why a bank may not be imported from there."""
    allowed = ", ".join(registries) or "nowhere: an admin lists registries in its bankRegistries"
    text = f"tuneBank.from is {source}; AcceleratorProfile {profile} lets banks come from {allowed}"
    return Finding(False, Reason.REGISTRY_NOT_ALLOWED, text, stalled=True)


def bank_fits(service: Resolved) -> Finding:
    """Whether the SDXLTuneBank that is named was made for what the service asks for."""
    named = service.spec.tune_bank.bank_ref
    if named is None:
        return Finding(True, Reason.ACCEPTED)
    if service.bank is None:
        text = f"spec.tuneBank.bankRef names SDXLTuneBank {named.name}, which does not exist in this namespace"
        return Finding(False, Reason.BANK_NOT_FOUND, text, stalled=True)
    whole = naming.whole_bank(service.named_bank or {"metadata": {"name": named.name}})
    if whole != named.name:
        text = f"spec.tuneBank.bankRef: SDXLTuneBank {named.name} is the part of {whole} for some nodes: name {whole}"
        return Finding(False, Reason.BANK_DIFFERS, text, stalled=True)
    wanted, there = _made_for(service.own_bank), _made_for(service.bank)
    differing = [
        f"{field} is {there.get(field)} there, {wanted.get(field)} here"
        for field in sorted({*wanted, *there})
        if wanted.get(field) != there.get(field)
    ]
    if differing:
        text = f"spec.tuneBank.bankRef: SDXLTuneBank {named.name} was made for something else: {'; '.join(differing)}"
        return Finding(False, Reason.BANK_DIFFERS, text, stalled=True)
    return Finding(True, Reason.ACCEPTED)


def _made_for(bank: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that tell for what a bank was made; where its files and its model's are does not matter."""
    spec = BankSpec.model_validate(bank).model_dump(by_alias=True, mode="json")
    nested = {f"{part}.{field}": spec[part][field] for part in ("model", "compile") for field in spec[part]}
    plain = {field: spec[field] for field in ("profile", "image", "precision", "acceleratorCount")}
    return {field: value for field, value in {**nested, **plain}.items() if field != "model.name"}


def measured(spec: ServiceSpec, models: Sequence[UsedModel]) -> Finding:
    """Whether the spec fits what was measured of the files, as far as they were fetched."""
    return first_failing((_divisible(spec, models), _ranks(spec, models)), Finding(True, Reason.ACCEPTED))


def _divisible(spec: ServiceSpec, models: Iterable[UsedModel]) -> Finding:
    """Whether every bucket divides by what the model and its refiner need."""
    for model in models:
        multiple = int(model.status.get("sizeMultiple") or 1)
        wrong = [b for b in spec.buckets if b.width % multiple or b.height % multiple]
        if wrong:
            parts = [
                f"{b.width}x{b.height} (nearest: {', '.join(_nearest(b.width, b.height, multiple))})" for b in wrong
            ]
            needs = f"{model.use.words} needs widths and heights that are multiples of {multiple}"
            text = f"{needs}; not so: {'; '.join(parts)}"
            return Finding(False, Reason.BUCKET_NOT_DIVISIBLE, text, stalled=True)
    return Finding(True, Reason.ACCEPTED)


def _ranks(spec: ServiceSpec, models: Iterable[UsedModel]) -> Finding:
    """Whether every adapter has a rank that the spec allows: a replica with another would not start."""
    ranks = {model.use.role: int(model.status.get("rank") or 0) for model in models}
    wrong = [
        f"spec.model.adapters: {item.name} has rank {ranks[role]}, its maximumRank is {item.maximum_rank}"
        for item in spec.model.adapters
        if ranks.get(role := f"adapters/{item.name}", 0) > item.maximum_rank
    ]
    if wrong:
        return Finding(False, Reason.ADAPTER_RANK_TOO_HIGH, "; ".join(wrong), stalled=True)
    return Finding(True, Reason.ACCEPTED)


def _nearest(width: int, height: int, multiple: int) -> list[str]:
    below = (max(width // multiple, 1) * multiple, max(height // multiple, 1) * multiple)
    above = (-(-width // multiple) * multiple, -(-height // multiple) * multiple)
    return [f"{w}x{h}" for w, h in dict.fromkeys((below, above))]


def _profile(spec: ServiceSpec, namespace: str, profiles: Sequence[Object]) -> ProfileSpec | Finding:
    wanted = spec.accelerator.profile
    by_name = {item["metadata"]["name"]: item for item in profiles}
    if wanted not in by_name:
        known = ", ".join(sorted(by_name)) or "none: an admin makes them"
        text = f"there is no AcceleratorProfile {wanted!r}; there are: {known}"
        return Finding(False, Reason.PROFILE_NOT_FOUND, text, stalled=True)
    try:
        profile = ProfileSpec.model_validate(by_name[wanted]["spec"])
    except ValidationError as error:
        text = f"AcceleratorProfile {wanted}: {sentence(error, 'spec')}"
        return Finding(False, Reason.PROFILE_INVALID, text, stalled=True)
    if profile.allowed_namespaces and namespace not in profile.allowed_namespaces:
        text = f"AcceleratorProfile {wanted} is for the namespaces {', '.join(profile.allowed_namespaces)}"
        return Finding(False, Reason.PROFILE_NOT_ALLOWED, text, stalled=True)
    if profile.resource is None and spec.accelerator.count > 1:
        text = (
            f"spec.accelerator.count is {spec.accelerator.count}, but profile {wanted} has no resource to count: use 1"
        )
        return Finding(False, Reason.ACCELERATOR_COUNT_INVALID, text, stalled=True)
    return profile


def sentence(error: ValidationError, root: str) -> str:
    """A pydantic error with the field's path as a user writes it."""
    parts = [
        f"{'.'.join((root, *(str(part) for part in item['loc'])))}: {item['msg']} (it is {item['input']!r})"
        if not isinstance(item["input"], dict | BaseModel)
        else f"{'.'.join((root, *(str(part) for part in item['loc'])))}: {item['msg']}"
        for item in error.errors()
    ]
    return "; ".join(parts)
