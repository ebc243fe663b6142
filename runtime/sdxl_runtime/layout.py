"""An SDXL model on a volume: which files a variant loads, what is missing, the digest over them. No torch.

The rules are those of diffusers' `from_pretrained(variant=…, use_safetensors=True)`: a variant's weights are
`<name>.<variant>.safetensors`, or the shards that `<name>.safetensors.index.<variant>.json` lists.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdxl_runtime.termination import Failure, Reason

CLASS_NAME = "StableDiffusionXLPipeline"
_WEIGHTS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}
_MODELS = ("text_encoder", "text_encoder_2", "unet", "vae")
_TOKENIZERS = ("tokenizer", "tokenizer_2")


@dataclass(frozen=True, slots=True)
class Layout:
    """A checked model: the files the variant loads, relative to `folder`, sorted."""

    folder: Path
    files: tuple[str, ...]
    size_multiple: int
    """Width and height of a picture must be multiples of this: VAE factor × 2^(UNet levels − 1)."""


@dataclass(frozen=True, slots=True)
class Measured:
    """`digest` is `sha256:<64 hex>` over the sorted lines `<path> <bytes> <sha256>` of the files."""

    digest: str
    bytes: int
    files: int


def check(folder: Path, variant: str) -> Layout:
    """Find every file the variant loads.

    Raises:
        Failure: `ModelMissing` (no such folder or no `model_index.json`), or `ModelInvalid` naming the file that is
            missing or wrong, and what is there instead.
    """
    if not (folder / "model_index.json").is_file():
        raise Failure(Reason.MODEL_MISSING, f"{folder} holds no model_index.json; {_there(folder)}")
    index = _read_json(folder, "model_index.json")
    if index.get("_class_name") != CLASS_NAME:
        raise _invalid(f"model_index.json is of class {index.get('_class_name')!r}; it must be {CLASS_NAME}")
    files = ["model_index.json", _required(folder, "scheduler/scheduler_config.json")]
    for component in _MODELS:
        files += _model_files(folder, component, _library(index, component), variant)
    for component in _TOKENIZERS:
        files += _tokenizer_files(folder, component)
    return Layout(folder, tuple(sorted(files)), _size_multiple(folder))


def measure(layout: Layout, read: Callable[[int], None] = lambda count: None) -> Measured:
    """The digest over the files; `read` is called with the bytes of each once they were read."""
    lines, total = [], 0
    for name in layout.files:
        path = layout.folder / name
        size = path.stat().st_size
        with path.open("rb") as file:
            lines.append(f"{name} {size} {hashlib.file_digest(file, 'sha256').hexdigest()}\n")
        total += size
        read(size)
    return Measured(f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}", total, len(lines))


def _library(index: dict[str, Any], component: str) -> str:
    entry = index.get(component)
    if not isinstance(entry, list) or len(entry) != 2 or entry[0] not in _WEIGHTS:
        raise _invalid(
            f"model_index.json has {entry!r} for {component}; it must name a diffusers or transformers class"
        )
    return str(entry[0])


def _model_files(folder: Path, component: str, library: str, variant: str) -> list[str]:
    config = _required(folder, f"{component}/config.json")
    name, infix = _WEIGHTS[library], f".{variant}" if variant else ""
    single = f"{component}/{name}{infix}.safetensors"
    if (folder / single).is_file():
        return [config, single]
    index = f"{component}/{name}.safetensors.index{infix}.json"
    if (folder / index).is_file():
        weight_map = _read_json(folder, index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise _invalid(f"{index} has no weight_map")
        return [config, index, *sorted({_required(folder, f"{component}/{shard}") for shard in weight_map.values()})]
    raise _invalid(f"{single} is missing; {_there(folder / component)}{_hint(folder / component, name, variant)}")


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
    _required(folder, f"{component}/tokenizer_config.json")
    if not (folder / component / "tokenizer.json").is_file():
        for name in ("vocab.json", "merges.txt"):
            _required(folder, f"{component}/{name}")
    paths = (folder / component).iterdir()
    return [f"{component}/{path.name}" for path in paths if path.is_file() and not path.name.startswith(".")]


def _size_multiple(folder: Path) -> int:
    levels = []
    for component in ("vae", "unet"):
        channels = _read_json(folder, f"{component}/config.json").get("block_out_channels")
        if not isinstance(channels, list) or not channels:
            raise _invalid(f"{component}/config.json has no block_out_channels")
        levels.append(len(channels))
    return int(2 ** (levels[0] - 1) * 2 ** (levels[1] - 1))


def _required(folder: Path, name: str) -> str:
    if not (folder / name).is_file():
        raise _invalid(f"{name} is missing; {_there((folder / name).parent)}")
    return name


def _there(folder: Path) -> str:
    if not folder.is_dir():
        return f"the folder {folder.name} is not there"
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return f"there is {shown}" if names else f"{folder.name} is empty"


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads((folder / name).read_bytes())
    except (OSError, ValueError) as error:
        raise _invalid(f"{name} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise _invalid(f"{name} is not a JSON object")
    return content


def _invalid(sentence: str) -> Failure:
    return Failure(Reason.MODEL_INVALID, sentence)
