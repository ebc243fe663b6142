"""A folder in diffusers' layout: which files a variant loads, and what is missing.

The rules are those of `from_pretrained(variant=…, use_safetensors=True)`: a variant's weights are
`<name>.<variant>.safetensors`, or the shards that `<name>.safetensors.index.<variant>.json` lists.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdxl_runtime.layout.reading import invalid, read_json, required, there
from sdxl_runtime.termination import Failure, Reason

_WEIGHTS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}


@dataclass(frozen=True, slots=True)
class Kind:
    """What a pipeline of one class consists of."""

    class_name: str
    models: tuple[str, ...]
    tokenizers: tuple[str, ...]
    absent: tuple[str, ...] = ()
    """Components that must be `[null, null]` in `model_index.json`."""
    flags: tuple[str, ...] = ()
    """What must be `true` in `model_index.json`."""


PIPELINE = Kind(
    class_name="StableDiffusionXLPipeline",
    models=("text_encoder", "text_encoder_2", "unet", "vae"),
    tokenizers=("tokenizer", "tokenizer_2"),
)
REFINER = Kind(
    class_name="StableDiffusionXLImg2ImgPipeline",
    models=("text_encoder_2", "unet", "vae"),
    tokenizers=("tokenizer_2",),
    absent=("text_encoder", "tokenizer"),
    flags=("requires_aesthetics_score",),
)
_CALLED = {PIPELINE.class_name: "Pipeline", REFINER.class_name: "Refiner"}


def files(folder: Path, variant: str, kind: Kind) -> tuple[str, ...]:
    """Every file the variant loads, relative to `folder`, sorted.

    Raises:
        Failure: `ModelMissing` (no such folder or no `model_index.json`), or `ModelInvalid` naming the file that is
            missing or wrong, and what is there instead.
    """
    if not (folder / "model_index.json").is_file():
        raise Failure(Reason.MODEL_MISSING, f"{folder} holds no model_index.json; {there(folder)}")
    index = read_json(folder, "model_index.json")
    _check_index(index, kind)
    found = ["model_index.json", required(folder, "scheduler/scheduler_config.json")]
    for component in kind.models:
        found += _model_files(folder, component, _library(index, component), variant)
    for component in kind.tokenizers:
        found += _tokenizer_files(folder, component)
    return tuple(sorted(found))


def size_multiple(folder: Path) -> int:
    """VAE factor × 2^(UNet levels − 1): width and height of a picture must be multiples of it.

    Raises:
        Failure: `ModelInvalid`, where a configuration does not say how many levels there are.
    """
    levels = []
    for component in ("vae", "unet"):
        channels = read_json(folder, f"{component}/config.json").get("block_out_channels")
        if not isinstance(channels, list) or not channels:
            raise invalid(f"{component}/config.json has no block_out_channels")
        levels.append(len(channels))
    return int(2 ** (levels[0] - 1) * 2 ** (levels[1] - 1))


def _check_index(index: dict[str, Any], kind: Kind) -> None:
    name = index.get("_class_name")
    if name != kind.class_name:
        hint = f"; as it is, set the content to {_CALLED[name]}" if name in _CALLED else ""
        raise invalid(f"model_index.json is of class {name!r}; it must be {kind.class_name}{hint}")
    for component in kind.absent:
        if index.get(component) not in (None, [None, None]):
            raise invalid(
                f"model_index.json has {index[component]!r} for {component}; it must be [null, null]: "
                f"a {_CALLED[kind.class_name].lower()} has no {component}"
            )
    for flag in kind.flags:
        if index.get(flag) is not True:
            raise invalid(f"model_index.json has {index.get(flag)!r} for {flag}; it must be true")


def _library(index: dict[str, Any], component: str) -> str:
    entry = index.get(component)
    if not isinstance(entry, list) or len(entry) != 2 or entry[0] not in _WEIGHTS:
        raise invalid(f"model_index.json has {entry!r} for {component}; it must name a diffusers or transformers class")
    return str(entry[0])


def _model_files(folder: Path, component: str, library: str, variant: str) -> list[str]:
    config = required(folder, f"{component}/config.json")
    name, infix = _WEIGHTS[library], f".{variant}" if variant else ""
    single = f"{component}/{name}{infix}.safetensors"
    if (folder / single).is_file():
        return [config, single]
    index = f"{component}/{name}.safetensors.index{infix}.json"
    if (folder / index).is_file():
        weight_map = read_json(folder, index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise invalid(f"{index} has no weight_map")
        if odd := [shard for shard in weight_map.values() if "/" in str(shard)]:
            raise invalid(f"{index} names {odd[0]!r}; a shard must be a file beside it")
        return [config, index, *sorted({required(folder, f"{component}/{shard}") for shard in weight_map.values()})]
    raise invalid(f"{single} is missing; {there(folder / component)}{_hint(folder / component, name, variant)}")


def _hint(folder: Path, name: str, variant: str) -> str:
    if list(folder.glob("*.bin")) and not list(folder.glob("*.safetensors")):
        return "; pickled weights are not loaded: convert them to safetensors"
    others = {path.name.split(".")[1] for path in folder.glob(f"{name}.*.safetensors")} - {variant}
    if others:
        return f"; set the variant to {' or '.join(sorted(others))}"
    if variant and (folder / f"{name}.safetensors").is_file():
        return "; leave the variant out"
    return ""


def _tokenizer_files(folder: Path, component: str) -> list[str]:
    required(folder, f"{component}/tokenizer_config.json")
    if not (folder / component / "tokenizer.json").is_file():
        for name in ("vocab.json", "merges.txt"):
            required(folder, f"{component}/{name}")
    paths = (folder / component).iterdir()
    return [f"{component}/{path.name}" for path in paths if path.is_file() and not path.name.startswith(".")]
