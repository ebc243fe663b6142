"""The files that a service uses, each held by an SDXLModel of its own: the model, its refiner, its adapters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sdxl_operator import naming
from sdxl_operator.api.resource import Volume
from sdxl_operator.api.service import ServiceSpec
from sdxl_operator.api.weights import HUBS, ModelContent, TokenReference
from sdxl_operator.naming import ModelUse, Object

MODELS_PATH = "/models"
REFINER_PATH = "/refiner"
ADAPTERS_PATH = "/adapters"


@dataclass(frozen=True, slots=True)
class Weights:
    """One set of files that a service uses."""

    role: str
    """What for: see `ModelUse`."""
    spec: Object
    """The spec of the SDXLModel that holds them; its name is a hash of it."""
    mount: str
    """Where a replica has the SDXLModel's volume."""
    token: TokenReference | None = None
    """What this service gives the fetch Job; it is no part of what the files are."""

    @property
    def name(self) -> str:
        """The SDXLModel's."""
        return naming.model_name(self.spec)

    @property
    def use(self) -> ModelUse:
        """The SDXLModel, and as what it is used."""
        return ModelUse(self.role, self.name)

    @property
    def claim(self) -> str:
        """The claim that holds them."""
        return claim_name(self.spec["volume"], self.name)

    @property
    def path(self) -> str:
        """Where a replica finds them."""
        return model_path(self.spec["source"], self.name, self.mount)


def of_model(spec: ServiceSpec) -> Weights:
    """The model that is served."""
    model = spec.model
    wanted = _spec(spec, model.source, model.revision, model.variant, ModelContent.PIPELINE)
    return Weights("model", wanted, MODELS_PATH, model.token_secret_ref)


def of_refiner(spec: ServiceSpec) -> Weights | None:
    """The refiner, where there is one."""
    refiner = spec.model.refiner
    if refiner is None:
        return None
    wanted = _spec(spec, refiner.source, refiner.revision, refiner.variant, ModelContent.REFINER)
    return Weights("refiner", wanted, REFINER_PATH, _token(spec, refiner.source, refiner.token_secret_ref))


def of_adapters(spec: ServiceSpec) -> Iterator[Weights]:
    """The adapters, in their order."""
    for adapter in spec.model.adapters:
        wanted = _spec(spec, adapter.source, adapter.revision, "", ModelContent.ADAPTER)
        token = _token(spec, adapter.source, adapter.token_secret_ref)
        yield Weights(f"adapters/{adapter.name}", wanted, f"{ADAPTERS_PATH}/{adapter.name}", token)


def of_spec(spec: ServiceSpec) -> tuple[Weights, ...]:
    """All that a service fetches: the model, its refiner, the adapters."""
    return (of_model(spec), *filter(None, (of_refiner(spec),)), *of_adapters(spec))


def _token(spec: ServiceSpec, source: str, own: TokenReference | None) -> TokenReference | None:
    """Its own; else the model's, which is shown to no other hub than the model's."""
    same_hub = any(source.startswith(hub) and spec.model.source.startswith(hub) for hub in HUBS)
    return own or (spec.model.token_secret_ref if same_hub else None)


def _spec(spec: ServiceSpec, source: str, revision: str, variant: str, content: ModelContent) -> Object:
    volume = spec.model.volume or spec.tune_bank.volume
    if source.startswith("pvc://"):
        volume = Volume(claim_name=source.removeprefix("pvc://").split("/")[0])
    return {
        "source": source,
        "variant": variant,
        **({"revision": revision} if revision else {}),
        # a pipeline is what is meant where nothing is said, and is named as before there was anything else
        **({} if content is ModelContent.PIPELINE else {"content": content.value}),
        "volume": volume.model_dump(by_alias=True, exclude_none=True, mode="json"),
    }


def model_path(source: str, name: str, mount: str = MODELS_PATH) -> str:
    """Where a pod finds the files: in the claim that a pvc:// source names, else in a folder of the model's name."""
    if source.startswith("pvc://"):
        _, _, path = source.removeprefix("pvc://").partition("/")
        return f"{mount}/{path}".rstrip("/")
    return f"{mount}/{name}"


def claim_name(volume: Mapping[str, Any], owner: str) -> str:
    """The claim behind a volume: the named one, or the one made for its owner."""
    return str(volume.get("claimName") or owner)
