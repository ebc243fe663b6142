"""LoRAs, merged in place into the weights: a compiled graph bound to these tensors needs no compilation for them.

A merged weight is W + Σ scale · alpha/rank · B A (Hu et al. 2021, section 4.1; alpha = rank where a file has none).
What it was before is kept beside it, so that taking an adapter out gives back the same bits.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders import StableDiffusionXLLoraLoaderMixin
from safetensors import safe_open
from safetensors.torch import load_file

from sdxl_runtime.jobs import Adapter
from sdxl_runtime.termination import Failure, Reason

_DOWN = (".lora_A.weight", ".lora.down.weight", ".lora_linear_layer.down.weight")
_UP = (".lora_B.weight", ".lora.up.weight", ".lora_linear_layer.up.weight")


@dataclass(frozen=True, slots=True)
class Delta:
    """What one adapter adds to one weight: `factor · up @ down`, shaped as the weight."""

    down: torch.Tensor
    """`[rank, in]`, or `[rank, in, k, k]` for a convolution."""
    up: torch.Tensor
    """`[out, rank]`, or `[out, rank, 1, 1]`."""
    factor: float

    def added(self, scale: float, like: torch.Tensor) -> torch.Tensor:
        """In fp32, on the device of `like`."""
        up, down = (part.to(like.device, torch.float32).flatten(1) for part in (self.up, self.down))
        return (scale * self.factor) * (up @ down).reshape(like.shape)


class Adapters:
    """The LoRAs of one pipeline by name. `modules` are the models they change: `unet`, `text_encoder`, …"""

    def __init__(self, paths: Mapping[str, tuple[Path, int]], modules: Mapping[str, torch.nn.Module]) -> None:
        """Read the files; `paths` has each adapter's file and the largest rank that is allowed.

        Raises:
            Failure: `ModelInvalid`, naming the adapter and what is wrong with it.
        """
        self._weights = {
            f"{prefix}.{name}": parameter
            for prefix, module in modules.items()
            for name, parameter in module.named_parameters()
        }
        config = getattr(modules["unet"], "config", None)
        self._deltas = {name: self._read(name, *path, config) for name, path in paths.items()}
        self._before: dict[str, torch.Tensor] = {}
        """In the host's memory: a device has none to spare."""
        self._in_use: tuple[Adapter, ...] = ()

    @property
    def names(self) -> list[str]:
        """The adapters there are."""
        return list(self._deltas)

    def touching_text(self, adapters: tuple[Adapter, ...]) -> tuple[Adapter, ...]:
        """Those of these that change a text encoder."""
        return tuple(
            adapter for adapter in adapters if any(key.startswith("text_encoder") for key in self._deltas[adapter.name])
        )

    @torch.inference_mode()
    def use(self, adapters: tuple[Adapter, ...]) -> bool:
        """Merge these and no others; returns whether a text encoder changed."""
        if adapters == self._in_use:
            return False
        changed = self.touching_text(adapters) != self.touching_text(self._in_use)
        wanted = {key for adapter in adapters for key in self._deltas[adapter.name]}
        for key in self._before.keys() - wanted:
            self._weights[key].copy_(self._before.pop(key))
        for key in wanted:
            weight = self._weights[key]
            if key not in self._before:
                self._before[key] = weight.to("cpu", copy=True)
            merged = self._before[key].to(weight.device, torch.float32)
            for adapter in adapters:
                delta = self._deltas[adapter.name].get(key)
                if delta is not None:
                    merged = merged + delta.added(adapter.scale, weight)
            weight.copy_(merged)
        self._in_use = adapters
        return changed

    def _read(self, name: str, path: Path, maximum_rank: int, config: Any) -> dict[str, Delta]:
        try:
            file = _file(path)
            state, alphas = StableDiffusionXLLoraLoaderMixin.lora_state_dict(load_file(file), unet_config=config)
            alpha = _Alphas(file, state, alphas or {})
        except (OSError, ValueError, KeyError) as error:
            raise _invalid(name, f"cannot be read: {error}") from error
        ends = _pairs(state)
        if not ends:
            raise _invalid(name, "holds no LoRA weights (…lora_A.weight and …lora_B.weight)")
        deltas = {}
        for stem, (down, up) in ends.items():
            key = self._key(stem)
            if key is None:
                raise _invalid(name, f"changes {stem}, which this model does not have")
            weight = self._weights[key]
            rank = down.shape[0]
            if rank > maximum_rank:
                raise _invalid(name, f"has rank {rank} at {stem}; at most {maximum_rank} is allowed")
            if up.shape[1] != rank or up.shape[0] != weight.shape[0] or down.flatten(1).shape[1] != weight[0].numel():
                raise _invalid(
                    name,
                    f"does not fit {stem}: {tuple(up.shape)} and {tuple(down.shape)} for "
                    f"a weight of {tuple(weight.shape)}",
                )
            deltas[key] = Delta(down, up, alpha.of(stem, rank) / rank)
        return deltas

    def _key(self, stem: str) -> str | None:
        """The weight of a module; transformers 5 took `text_model` out of one encoder's names, files have it still."""
        candidates = (stem, stem.replace(".text_model.", ".", 1), stem.replace(".", ".text_model.", 1))
        return next((key for name in candidates if (key := f"{name}.weight") in self._weights), None)


class _Alphas:
    """Where a file says what alpha is: beside each weight (kohya), or once in its metadata (peft)."""

    def __init__(self, file: Path, state: Mapping[str, torch.Tensor], converted: Mapping[str, Any]) -> None:
        with safe_open(file, "pt") as opened:
            metadata = (opened.metadata() or {}).get("lora_adapter_metadata", "{}")
        self._common: Mapping[str, Any] = json.loads(metadata)
        self._own = {**{key: float(value) for key, value in state.items() if key.endswith(".alpha")}, **converted}

    def of(self, stem: str, rank: int) -> float:
        """The alpha of a module; its rank where nothing is said."""
        own = self._own.get(f"{stem}.alpha")
        component, _, module = stem.partition(".")
        pattern = self._common.get(f"{component}.alpha_pattern") or {}
        common = pattern.get(module, self._common.get(f"{component}.lora_alpha", rank))
        return float(common if own is None else own)


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(path.glob("*.safetensors"))
    if len(found) != 1:
        raise ValueError(f"{path} holds {len(found)} .safetensors files; it must be one")
    return found[0]


def _pairs(state: Mapping[str, torch.Tensor]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    pairs = {}
    for down, up in zip(_DOWN, _UP, strict=True):
        for key, tensor in state.items():
            if key.endswith(down):
                stem = key.removesuffix(down)
                pairs[stem] = tensor, state[stem + up]
    return pairs


def _invalid(name: str, problem: str) -> Failure:
    return Failure(Reason.MODEL_INVALID, f"the adapter {name} {problem}")
