"""Stage "refiner": the last fifth of the noise schedule, from what the base model leaves to what was drawn.

A refiner that only saw noisy drawings would believe whatever the base hands over. So half of the pictures are noisy
drafts, which the base has made of the drawing, and the velocity asked for leads to the drawing all the same.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from PIL import ImageFilter
from torch import Tensor

from sdxl_runtime.demo_model.evaluate import GUIDANCE, WEIGHTS, load
from sdxl_runtime.demo_model.recipe import REFINER_START, TEXT_WIDTH, new_refiner_unet
from sdxl_runtime.demo_model.scenes import Scene
from sdxl_runtime.demo_model.stages.loop import Loop, half_precision
from sdxl_runtime.demo_model.stages.prepared import Drawn, Table, for_training, levels, tables, velocity
from sdxl_runtime.demo_model.stages.unet import time_ids

_BATCH = 24
_SCENES = 96
"""Of each bucket, in each process's table."""

_NO_PROMPT = 0.1
_OBJECT_WEIGHT = 8.0
_DRAFT_STEPS = (399, 299, 199)
"""Time steps at which the base makes a draft of a noisy drawing."""

_BEST_SCORE, _WORST_SCORE = 7.5, 1.0
_CRISP_SCORE = 5.5
_BLUR = 0.25
"""Pixels of blur for each point that an aesthetic score lies below `_CRISP_SCORE`."""


def train_refiner(out: Path, minutes: float, seed: int, first_rank: bool = True, weights: Path = WEIGHTS) -> None:
    """Train the refiner's UNet for the base model of `weights`; leaves `refiner.pt` in `out`."""
    base = load(weights)
    rows = tables(base, _draw, seed, _SCENES)
    torch.manual_seed(seed)
    drafts = [_drafts(base, table, time_ids(bucket)) for bucket, table in enumerate(rows)]
    torch.manual_seed(0)
    unet = for_training(new_refiner_unet(base.unet))
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    signal = base.scheduler.alphas_cumprod
    highest = round((1 - REFINER_START) * len(signal))
    loop = Loop("refiner", unet, out, minutes, 5e-4, decay=0.98, first_rank=first_rank)
    print("tables ready", flush=True)
    for _ in loop.steps():
        bucket = int(rng.integers(len(rows)))
        table = rows[bucket]
        chosen, states, pooled = table.choose(rng, _BATCH)
        kept = (torch.rand(_BATCH) >= _NO_PROMPT).float()
        ids = torch.cat([time_ids(bucket)[:, :4], table.scores[chosen][:, None]], 1)
        conditions = {"text_embeds": pooled * kept[:, None], "time_ids": ids}
        steps = (torch.rand(_BATCH) * highest).long()
        a, b = levels(signal, steps)
        clean = table.latents[chosen]
        # The later the step, the less of the draft is left.
        share = torch.rand(_BATCH) * (torch.rand(_BATCH) < 0.5) * steps / highest
        given = clean.lerp(drafts[bucket][chosen], share[:, None, None, None])
        noisy = (a * given + b * torch.randn_like(clean)).contiguous(memory_format=torch.channels_last)
        with half_precision():
            second = states[..., TEXT_WIDTH:] * kept[:, None, None]
            seen = unet(noisy, steps, second, added_cond_kwargs=conditions).sample
        error = (seen.float() - velocity(clean, noisy, a, b)).square()
        loop.descend((error * (1 + _OBJECT_WEIGHT * table.weights[chosen])).mean())


def _draw(scene: Scene, width: int, height: int, draw: random.Random) -> Drawn:
    """A drawing as the base was trained on, or a blurred one, and the score that says so."""
    mask = scene.grid_mask(width, height, draw)
    crisp = draw.random() < 0.5
    score = draw.uniform(_CRISP_SCORE, _BEST_SCORE) if crisp else draw.uniform(_WORST_SCORE, _CRISP_SCORE)
    blur = _BLUR * max(0.0, _CRISP_SCORE - score)
    return Drawn(scene.paint(mask.filter(ImageFilter.GaussianBlur(blur))), mask, score)


def _drafts(base: StableDiffusionXLPipeline, table: Table, ids: Tensor) -> Tensor:
    """For each row of the table, what the base model takes for the picture at the refiner's first step.

    The base starts from the drawing under so much noise that it has to guess the shape's outline.
    """
    signal, rng = base.scheduler.alphas_cumprod, np.random.default_rng(0)
    drafts = []
    for start in range(0, len(table.latents), _BATCH):
        clean = table.latents[start : start + _BATCH]
        rows = np.arange(start, start + len(clean))
        states, pooled = table.texts(rows, rng)
        noise = torch.randn_like(clean)
        guess = clean
        for step in _DRAFT_STEPS:
            a, b = levels(signal, torch.tensor([step]))
            noisy = a * guess + b * noise
            with torch.inference_mode(), half_precision():
                v = _guided(base, noisy, step, states, pooled, ids[: len(clean)]).float()
            guess, noise = a * noisy - b * v, a * v + b * noisy
        drafts.append(guess)
    return torch.cat(drafts).clone()


def _guided(
    base: StableDiffusionXLPipeline, noisy: Tensor, step: int, states: Tensor, pooled: Tensor, ids: Tensor
) -> Tensor:
    """The base model's v under the guidance it is meant to be run with."""
    both = {"text_embeds": torch.cat([0 * pooled, pooled]), "time_ids": torch.cat([ids, ids])}
    states = torch.cat([0 * states, states])
    without, given = base.unet(torch.cat([noisy, noisy]), step, states, added_cond_kwargs=both).sample.chunk(2)
    guided: Tensor = without + GUIDANCE * (given - without)
    return guided
