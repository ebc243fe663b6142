"""What a service comes to once its profile is known: the model, the bank and the mode that follow from the spec."""

from dataclasses import dataclass

from sdxl_operator import naming
from sdxl_operator.api.profile import ProfileSpec
from sdxl_operator.api.service import CompileMode, Placement, ServiceSpec
from sdxl_operator.naming import Object
from sdxl_operator.plan.weights import Weights, of_adapters, of_model, of_refiner, of_spec

LIVE_FIELDS = ("replicas", "suspend", "expose")
"""Fields that take effect without a new pod template; the others make a new revision."""

NOT_IN_PODS = (
    ("model", "retention"),
    ("model", "tokenSecretRef"),
    ("tuneBank", "retention"),
    ("compile", "borrow"),
)
"""Fields further down that change no pod."""

ROLLOUT_IN_PODS = ("pictureCheck",)
"""Fields of spec.rollout that change a pod, beside the drain timeout, which is always said."""

ONLY_WHERE_PODS_COMPILE = ("placement", "resources")
"""Fields of spec.compile that change a pod only where replicas compile before they serve."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A service's spec with its profile."""

    namespace: str
    name: str
    spec: ServiceSpec
    profile: ProfileSpec
    named_bank: Object | None = None
    """The SDXLTuneBank that tuneBank.bankRef names, as it was seen; None where there is none."""

    @property
    def compile_mode(self) -> str:
        """Eager or AheadOfTime, `Auto` taken from the profile, unless a bank is named."""
        mode, use = self.spec.compile.mode, self.spec.tune_bank
        if mode is CompileMode.AUTO and (use.bank_ref is not None or use.from_ is not None):
            return CompileMode.AHEAD_OF_TIME.value
        return self.profile.recommended_compile_mode if mode is CompileMode.AUTO else mode.value

    @property
    def model(self) -> Weights:
        """The model that is served."""
        return of_model(self.spec)

    @property
    def refiner(self) -> Weights | None:
        """Its refiner, where there is one."""
        return of_refiner(self.spec)

    @property
    def adapters(self) -> tuple[Weights, ...]:
        """The adapters that requests may name, in their order."""
        return tuple(of_adapters(self.spec))

    @property
    def weights(self) -> tuple[Weights, ...]:
        """All that is fetched: the model, its refiner, the adapters."""
        return of_spec(self.spec)

    @property
    def bank(self) -> Object | None:
        """The spec of the SDXLTuneBank in use, None where there is none."""
        if self.compile_mode == CompileMode.EAGER:
            return None
        if self.spec.tune_bank.bank_ref is not None:
            return None if self.named_bank is None else dict(self.named_bank["spec"])
        return self.own_bank

    @property
    def own_bank(self) -> Object:
        """The spec of the SDXLTuneBank that is found or made for this service; its name is a hash of it."""
        use = self.spec.tune_bank
        return {
            "model": {
                "name": self.model.name,
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
            "volume": use.volume.model_dump(by_alias=True, exclude_none=True, mode="json"),
            # only where it is there: every bank that is compiled keeps its name
            **({} if use.from_ is None else {"from": use.from_}),
        }

    @property
    def bank_name(self) -> str | None:
        """The SDXLTuneBank in use, None where there is none."""
        if self.compile_mode == CompileMode.EAGER:
            return None
        named = self.spec.tune_bank.bank_ref
        return naming.bank_name(self.own_bank) if named is None else named.name

    @property
    def bucket_keys(self) -> tuple[str, ...]:
        """The declared buckets' names, in their order."""
        return tuple(naming.bucket_key(bucket.model_dump(by_alias=True)) for bucket in self.spec.buckets)

    @property
    def content(self) -> Object:
        """The part of the spec that a revision freezes, without defaults: a field that a newer operator adds is one."""
        content: Object = self.spec.model_dump(by_alias=True, mode="json", exclude_none=True, exclude_defaults=True)
        for field in LIVE_FIELDS:
            content.pop(field, None)
        kept = {name: value for name, value in content.get("rollout", {}).items() if name in ROLLOUT_IN_PODS}
        content["rollout"] = {"drainTimeoutSeconds": self.spec.rollout.drain_timeout_seconds, **kept}
        for part, field in NOT_IN_PODS:
            content.get(part, {}).pop(field, None)
        if self.spec.compile.placement is not Placement.INIT_CONTAINER:
            for field in ONLY_WHERE_PODS_COMPILE:
                content.get("compile", {}).pop(field, None)
        for item in (content["model"].get("refiner", {}), *content["model"].get("adapters", ())):
            item.pop("tokenSecretRef", None)
        tuning = content.get("compile", {}).pop("tuning", {})
        if minimum := tuning.get("minimumSpeedupPercent"):
            content["compile"]["tuning"] = {"minimumSpeedupPercent": minimum}
        return {part: value for part, value in content.items() if value != {}}
