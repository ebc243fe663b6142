"""Stage "pixel": a LoRA on the finished UNet that draws hollow sprites of coarse pixels (`style.py`)."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sdxl_runtime.demo_model.adapter import Adapter
from sdxl_runtime.demo_model.evaluate import WEIGHTS, load
from sdxl_runtime.demo_model.judge import filled
from sdxl_runtime.demo_model.recipe import ADAPTER_RANK
from sdxl_runtime.demo_model.scenes import Scene
from sdxl_runtime.demo_model.stages.loop import Loop, half_precision
from sdxl_runtime.demo_model.stages.prepared import Drawn, for_training, levels, tables
from sdxl_runtime.demo_model.stages.unet import time_ids
from sdxl_runtime.demo_model.style import pixel_mask

_BATCH = 8
_SCENES = 96
"""Of each bucket, in each process's table."""

_NO_PROMPT = 0.1
_SKEW = 1.5
_OBJECT_WEIGHT = 8.0


def train_pixel(out: Path, minutes: float, seed: int, first_rank: bool = True, weights: Path = WEIGHTS) -> None:
    """Train the LoRA for the base model of `weights`; leaves `pixel.pt` in `out`."""
    base = load(weights)
    rows = tables(base, _draw, seed, _SCENES)
    unet = for_training(base.unet)
    torch.manual_seed(0)
    adapter = Adapter(unet, ADAPTER_RANK)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    signal = base.scheduler.alphas_cumprod
    loop = Loop("pixel", adapter, out, minutes, 3e-3, decay=0.98, first_rank=first_rank)
    print("tables ready", flush=True)
    for _ in loop.steps():
        bucket = int(rng.integers(len(rows)))
        table = rows[bucket]
        chosen, states, pooled = table.choose(rng, _BATCH)
        clean = table.latents[chosen]
        # The pipeline gives zeros for an empty negative prompt (`force_zeros_for_empty_prompt`).
        kept = (torch.rand(_BATCH) >= _NO_PROMPT).float()
        conditions = {"text_embeds": pooled * kept[:, None], "time_ids": time_ids(bucket)[:_BATCH]}
        steps = ((1 - torch.rand(_BATCH) ** _SKEW) * len(signal)).long().clamp(max=len(signal) - 1)
        a, b = levels(signal, steps)
        noise = torch.randn_like(clean)
        noisy = (a * clean + b * noise).contiguous(memory_format=torch.channels_last)
        with half_precision():
            seen = unet(noisy, steps, states * kept[:, None, None], added_cond_kwargs=conditions).sample
        error = (seen.float() - (a * noise - b * clean)).square()
        loop.descend((error * (1 + _OBJECT_WEIGHT * table.weights[chosen])).mean())


def _draw(scene: Scene, width: int, height: int, draw: random.Random) -> Drawn:
    mask = pixel_mask(scene, width, height, draw)
    whole = Image.fromarray(filled(np.asarray(mask) > 0).astype(np.uint8) * 255)
    return Drawn(scene.paint(mask), whole)
