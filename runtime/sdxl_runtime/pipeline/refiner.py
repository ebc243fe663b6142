"""The refiner: a second UNet that takes the last steps, at low noise, in the base model's latents.

As `diffusers.StableDiffusionXLImg2ImgPipeline` with `denoising_start`; it attends to the second text encoder alone and
is told an aesthetic score in place of the target size.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

AESTHETIC_SCORE, NEGATIVE_AESTHETIC_SCORE = 6.0, 2.5
"""The defaults of diffusers, which are those of the SDXL report's code."""


class Refiner:
    """The refiner's own parts; text encoder and VAE are the base model's."""

    def __init__(
        self,
        folder: Path,
        weights: Mapping[str, Any],
        start_percent: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        index = json.loads((folder / "model_index.json").read_bytes())
        self.zero_empty_prompt = bool(index.get("force_zeros_for_empty_prompt", True))
        self.told_score = bool(index.get("requires_aesthetics_score", False))
        self.scheduler_config = json.loads((folder / "scheduler" / "scheduler_config.json").read_bytes())
        unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=dtype, **weights)
        self.unet: Any = unet.eval().requires_grad_(False).to(device)
        self.start_percent = start_percent
        """The share of the noise schedule that is the base model's."""
