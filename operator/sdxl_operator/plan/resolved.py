"""What a service comes to once its profile is known: the model, the bank and the mode that follow from the spec."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdxl_operator import naming
from sdxl_operator.api.profile import ProfileSpec
from sdxl_operator.api.resource import Volume
from sdxl_operator.api.service import CompileMode, ServiceSpec
from sdxl_operator.naming import Object

LIVE_FIELDS = ("replicas", "suspend", "expose")
"""Fields that take effect without a new pod template; the others make a new revision."""

NOT_IN_PODS = (("model", "retention"), ("tuneBank", "retention"), ("compile", "resources"))
"""Fields further down that change no pod."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A service's spec with its profile."""

    namespace: str
    name: str
    spec: ServiceSpec
    profile: ProfileSpec

    @property
    def compile_mode(self) -> str:
        """Eager or AheadOfTime, `Auto` taken from the profile."""
        mode = self.spec.compile.mode
        return self.profile.recommended_compile_mode if mode is CompileMode.AUTO else mode.value

    @property
    def model(self) -> Object:
        """The spec of the SDXLModel; its name is a hash of it."""
        source = self.spec.model.source
        volume = self.spec.model.volume or self.spec.tune_bank.volume
        if source.startswith("pvc://"):
            volume = Volume(claim_name=source.removeprefix("pvc://").split("/")[0])
        return {
            "source": source,
            "variant": self.spec.model.variant,
            "volume": volume.model_dump(by_alias=True, exclude_none=True, mode="json"),
        }

    @property
    def model_name(self) -> str:
        """The SDXLModel in use."""
        return naming.model_name(self.model)

    @property
    def bank(self) -> Object | None:
        """The spec of the SDXLTuneBank, None where nothing is compiled; its name is a hash of it."""
        if self.compile_mode == CompileMode.EAGER:
            return None
        return {
            "model": {
                "name": self.model_name,
                "source": self.spec.model.source,
                "variant": self.spec.model.variant,
            },
            "profile": self.spec.accelerator.profile,
            "image": self.profile.image,
            "precision": self.spec.precision.value,
            "acceleratorCount": self.spec.accelerator.count,
            "compile": {
                "mode": self.compile_mode,
                "minimumSpeedupPercent": self.spec.compile.tuning.minimum_speedup_percent,
            },
            "volume": self.spec.tune_bank.volume.model_dump(by_alias=True, exclude_none=True, mode="json"),
        }

    @property
    def bank_name(self) -> str | None:
        """The SDXLTuneBank in use, None where nothing is compiled."""
        bank = self.bank
        return None if bank is None else naming.bank_name(bank)

    @property
    def bucket_keys(self) -> tuple[str, ...]:
        """The declared buckets' names, in their order."""
        return tuple(naming.bucket_key(bucket.model_dump()) for bucket in self.spec.buckets)

    @property
    def content(self) -> Object:
        """The part of the spec that a revision freezes, without defaults: a field that a newer operator adds is one."""
        content: Object = self.spec.model_dump(by_alias=True, mode="json", exclude_none=True, exclude_defaults=True)
        for field in LIVE_FIELDS:
            content.pop(field, None)
        content["rollout"] = {"drainTimeoutSeconds": self.spec.rollout.drain_timeout_seconds}
        for part, field in NOT_IN_PODS:
            content.get(part, {}).pop(field, None)
        tuning = content.get("compile", {}).pop("tuning", {})
        if minimum := tuning.get("minimumSpeedupPercent"):
            content["compile"]["tuning"] = {"minimumSpeedupPercent": minimum}
        return {part: value for part, value in content.items() if value != {}}


def model_path(source: str, name: str) -> str:
    """Where a pod finds the pipeline's folder: in the claim that a pvc:// source names, else under the model's name."""
    if source.startswith("pvc://"):
        _, _, path = source.removeprefix("pvc://").partition("/")
        return f"/models/{path}".rstrip("/")
    return f"/models/{name}"


def claim_name(volume: Mapping[str, Any], owner: str) -> str:
    """The claim behind a volume: the named one, or the one made for its owner."""
    return str(volume.get("claimName") or owner)
