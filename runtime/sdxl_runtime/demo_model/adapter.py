"""A LoRA for the demo model's UNet: attached for training, written as diffusers writes it, merged by hand.

The file is what `StableDiffusionXLLoraLoaderMixin.save_lora_weights` leaves: `unet.<module>.lora_A.weight` (rank, in)
and `unet.<module>.lora_B.weight` (out, rank). There is no alpha in it, so alpha is the rank.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

PIXEL = Path(__file__).with_name("pixel")
FILE = "pytorch_lora_weights.safetensors"
"""The name that diffusers gives a LoRA's file, and looks for in a folder."""

_PREFIX = "unet."


class LowRank(nn.Module):
    """What is added to one weight: up times down, nothing at first."""

    def __init__(self, outputs: int, inputs: int, rank: int) -> None:
        """Random down, zero up."""
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, inputs) / rank)
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """The adapted weight, of the shape of `weight`."""
        return weight + self.up @ self.down


class Adapter(nn.Module):
    """Low-rank additions to linear layers of a frozen UNet, by the layers' names."""

    def __init__(self, unet: UNet2DConditionModel, rank: int) -> None:
        """Attach to every linear layer of `unet` inside a transformer or after a residual block's time embedding."""
        super().__init__()
        unet.requires_grad_(False)
        self.names = [name for name, module in unet.named_modules() if isinstance(module, nn.Linear) and _fits(name)]
        self._parts: list[LowRank] = []
        for name in self.names:
            layer = unet.get_submodule(name)
            part = LowRank(int(layer.weight.shape[0]), int(layer.weight.shape[1]), rank)
            parametrize.register_parametrization(layer, "weight", part)
            self._parts.append(part)
        self.parts = nn.ModuleList(self._parts)

    def tensors(self) -> dict[str, Tensor]:
        """The additions under diffusers' names, in float16."""
        found = {}
        for name, part in zip(self.names, self._parts, strict=True):
            found[f"{_PREFIX}{name}.lora_A.weight"] = part.down.detach().half().contiguous()
            found[f"{_PREFIX}{name}.lora_B.weight"] = part.up.detach().half().contiguous()
        return found

    def save(self, file: Path) -> None:
        """Write a `.safetensors` file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(self.tensors(), file, metadata={"format": "pt"})


def _fits(name: str) -> bool:
    return ".attentions." in name or name.endswith(".time_emb_proj")


def merge(unet: UNet2DConditionModel, file: Path, scale: float) -> None:
    """Add the adapter of `file` times `scale` to the weights of `unet`, in place; minus `scale` takes it out again."""
    tensors = load_file(file)
    with torch.no_grad():
        for name, down in tensors.items():
            if name.endswith(".lora_A.weight"):
                layer = unet.get_submodule(name.removeprefix(_PREFIX).removesuffix(".lora_A.weight"))
                up = tensors[name.replace(".lora_A.", ".lora_B.")]
                layer.weight += scale * (up.float() @ down.float()).to(layer.weight.dtype)
