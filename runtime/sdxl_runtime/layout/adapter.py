"""A LoRA's file: found, and its header read. No torch, and no weights.

Two ways of writing keys are known: diffusers' with peft (`unet.<module>.lora_A.weight`, also the older
`….lora.down.weight`), and kohya's (`lora_unet_<module>.lora_down.weight`), each with an optional `….alpha`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from sdxl_runtime.layout.reading import invalid, there
from sdxl_runtime.termination import Failure, Reason

SUFFIX = ".safetensors"

_MODULE = r"(?P<module>(?:unet|text_encoder|text_encoder_2)\.[\w.]+?|lora_(?:unet|te1|te2)_\w+)"
_DOWN = r"lora_A|lora_down|lora\.down|lora_linear_layer\.down"
_UP = r"lora_B|lora_up|lora\.up|lora_linear_layer\.up"
_KEY = re.compile(rf"{_MODULE}\.(?:(?P<down>{_DOWN})\.weight|(?P<up>{_UP})\.weight|(?P<alpha>alpha))")
_OTHER_METHODS = {
    "lora_magnitude_vector": "DoRA",
    "dora_scale": "DoRA",
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "lora_mid": "a LoRA with a middle part",
    ".diff": "a difference of whole weights",
}
_RIGHT = "a LoRA's keys are like unet.<module>.lora_A.weight (diffusers) or lora_unet_<module>.lora_down.weight (kohya)"
_FORMATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True, slots=True)
class Header:
    """What a LoRA's header tells."""

    rank: int
    """The highest of its parts."""
    modules: tuple[str, ...]
    """The layers it adds to, as the file calls them, sorted."""


def find(path: Path) -> Path:
    """The `.safetensors` file that `path` is, or the only one in the folder that `path` is.

    Raises:
        Failure: `ModelMissing` where there is none, `ModelInvalid` where it is not clear which.
    """
    if path.is_file():
        if path.suffix != SUFFIX:
            raise invalid(f"{path.name} is not a .safetensors file; an adapter is one, or a folder with exactly one")
        return path
    files = sorted(file for file in path.glob("*.safetensors") if not file.name.startswith("."))
    if not files:
        raise Failure(Reason.MODEL_MISSING, f"{path} holds no .safetensors file; {there(path)}")
    if len(files) > 1:
        names = ", ".join(file.name for file in files[:12])
        raise invalid(f"{path.name} holds {len(files)} .safetensors files, {names}; name the one that is meant")
    return files[0]


def read(file: Path) -> Header:
    """Read the header of a LoRA's file and see that every part is whole.

    Raises:
        Failure: `ModelInvalid`, naming what cannot be read, or the key that is wrong and what would be right.
    """
    downs: dict[str, tuple[int, ...]] = {}
    ups: dict[str, tuple[int, ...]] = {}
    alphas = set()
    for key, shape in _shapes(file).items():
        found = _KEY.fullmatch(key)
        if found is None:
            raise invalid(f"{file.name} has the key {key!r}{_method(key)}; {_RIGHT}")
        if found["alpha"]:
            alphas.add(found["module"])
        else:
            (downs if found["down"] else ups)[found["module"]] = shape
    for module in sorted(downs.keys() | ups.keys() | alphas):
        _check_part(file, module, downs.get(module), ups.get(module))
    return Header(max(shape[0] for shape in downs.values()), tuple(sorted(downs)))


def _shapes(file: Path) -> Mapping[str, tuple[int, ...]]:
    """The shape of each tensor; empty is an error, as is any format but floating-point numbers."""
    shapes = {}
    try:
        with safe_open(file, framework="numpy") as tensors:
            for key in tensors.keys():  # noqa: SIM118 - it is no mapping
                part = tensors.get_slice(key)
                if part.get_dtype() not in _FORMATS:
                    raise invalid(
                        f"{file.name} has {key!r} in {part.get_dtype()}; it must be one of {', '.join(_FORMATS)}"
                    )
                shapes[key] = tuple(part.get_shape())
    except (OSError, SafetensorError) as error:
        raise invalid(f"{file.name} is not a whole .safetensors file: {error}") from None
    if not shapes:
        raise invalid(f"{file.name} has no tensors; {_RIGHT}")
    return shapes


def _method(key: str) -> str:
    return next((f", which is of {name}" for mark, name in _OTHER_METHODS.items() if mark in key), "")


def _check_part(file: Path, module: str, down: tuple[int, ...] | None, up: tuple[int, ...] | None) -> None:
    """Both matrices of a module must be there, (rank, in, …) and (out, rank, …)."""
    if down is None or up is None:
        raise invalid(f"{file.name} has only one of the two matrices of {module}, or its alpha alone")
    if len(down) not in (2, 4) or len(up) != len(down) or down[0] < 1 or up[1] != down[0]:
        raise invalid(
            f"{file.name} has {list(down)} and {list(up)} for {module}; they must be (rank, in) and (out, rank)"
        )
