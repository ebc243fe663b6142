"""Stage "unet": from noise to the latents of a scene, guided by its prompt.

Velocity prediction down to no signal at all, with noise levels drawn towards the high end: where the object goes and
which colours there are is decided there, and a few thousand steps have to be spent where they count.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTokenizer

from sdxl_runtime.demo_model.recipe import VAE_FACTOR, new_scheduler, new_unet
from sdxl_runtime.demo_model.scenes import BUCKETS, TEMPLATES, Scene, prompt_for, training_scenes
from sdxl_runtime.demo_model.stages.loop import Loop, half_precision
from sdxl_runtime.demo_model.stages.text import Encoders, load_text, token_ids
from sdxl_runtime.demo_model.stages.vae import load_vae, set_statistics

_BATCH = 24
_NO_PROMPT = 0.1
_SKEW = 2.0
_OBJECT_WEIGHT = 8.0


@dataclass
class Prompts:
    """The encoded prompts of the training scenes, each text once, and which of them fit which scene."""

    states: Tensor
    pooled: Tensor
    fitting: list[list[int]]

    @classmethod
    def encode(cls, scenes: list[Scene], tokenizer: CLIPTokenizer, encoders: Encoders) -> Prompts:
        """Encode every prompt for `scenes`, whole and with size or place left out."""
        rows: dict[str, int] = defaultdict(lambda: len(rows))
        fitting = [[rows[prompt] for prompt in _prompts(scene)] for scene in scenes]
        texts = list(rows)
        states, pooled = [], []
        with torch.inference_mode(), half_precision():
            for start in range(0, len(texts), 256):
                one, two = encoders(token_ids(tokenizer, texts[start : start + 256]))
                states.append(one.bfloat16())
                pooled.append(two.bfloat16())
        return cls(torch.cat(states), torch.cat(pooled), fitting)


def _prompts(s: Scene) -> list[str]:
    """What a scene may be called: mostly by all its attributes, sometimes without size or place."""
    parts = [(s.size, s.place)] * 4 + [(None, s.place), (s.size, None), (None, None)]
    return [
        prompt_for(s.shape, s.colour, s.background, size, place, template)
        for size, place in parts
        for template in range(TEMPLATES)
    ]


def encode_scenes(scenes: list[Scene], vae: AutoencoderKL, width: int, height: int, seed: int) -> Tensor:
    """Latents and object share of each scene, drawn on the grid: (n, 5, height / 8, width / 8), not standardised."""
    draw = random.Random(seed)
    rows = []
    for start in range(0, len(scenes), 32):
        some = scenes[start : start + 32]
        masks = [scene.grid_mask(width, height, draw) for scene in some]
        pictures = [scene.paint(mask) for scene, mask in zip(some, masks, strict=True)]
        pixels = torch.from_numpy(np.stack([np.asarray(p) for p in pictures])).permute(0, 3, 1, 2)
        shares = torch.from_numpy(np.stack([np.asarray(m) for m in masks])).float()[:, None] / 255
        with torch.inference_mode(), half_precision():
            latents = vae.encode((pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last))
        rows.append(torch.cat([latents.latent_dist.mean.float(), nn.functional.max_pool2d(shares, VAE_FACTOR)], 1))
    return torch.cat(rows)


def train_unet(out: Path, minutes: float, seed: int, first_rank: bool = True) -> None:
    """Train the UNet; leaves `unet.pt` and the latents' statistics in `out`."""
    scenes = training_scenes()
    prompts = Prompts.encode(scenes, *load_text(out))
    vae = load_vae(out).to(memory_format=torch.channels_last)
    tables = [encode_scenes(scenes, vae, width, height, seed) for width, height in BUCKETS]
    mean, deviation = _statistics(out, vae, tables[0], first_rank)
    for table in tables:
        table[:, :4] = (table[:, :4] - mean) / deviation
    torch.manual_seed(0)
    unet = new_unet().to(memory_format=torch.channels_last)
    # On the CPU the fused attention's backward pass takes longer than plain matrix products do.
    unet.set_attn_processor(AttnProcessor())
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    signal = new_scheduler().alphas_cumprod
    loop = Loop("unet", unet, out, minutes, 2e-3, decay=0.996, first_rank=first_rank)
    print("tables ready", len(prompts.states), flush=True)
    for _ in loop.steps():
        bucket = int(rng.integers(len(BUCKETS)))
        chosen = rng.integers(0, len(scenes), _BATCH)
        clean, weights = torch.split(tables[bucket][chosen], [4, 1], 1)
        rows = torch.tensor([prompts.fitting[i][rng.integers(len(prompts.fitting[i]))] for i in chosen])
        # The pipeline gives zeros for an empty negative prompt (`force_zeros_for_empty_prompt`).
        kept = (torch.rand(_BATCH) >= _NO_PROMPT).to(torch.bfloat16)
        conditions = {"text_embeds": prompts.pooled[rows] * kept[:, None], "time_ids": time_ids(bucket)}
        steps = ((1 - torch.rand(_BATCH) ** _SKEW) * len(signal)).long().clamp(max=len(signal) - 1)
        a, b = signal[steps].sqrt()[:, None, None, None], (1 - signal[steps]).sqrt()[:, None, None, None]
        noise = torch.randn_like(clean)
        with half_precision():
            noisy = (a * clean + b * noise).contiguous(memory_format=torch.channels_last)
            states = prompts.states[rows] * kept[:, None, None]
            seen = unet(noisy, steps, states, added_cond_kwargs=conditions).sample
        error = (seen.float() - (a * noise - b * clean)).square()
        loop.descend((error * (1 + _OBJECT_WEIGHT * weights)).mean())


def time_ids(bucket: int) -> Tensor:
    """SDXL's micro-conditioning for a batch of one bucket: original size, no cropping, target size; (n, 6) pixels."""
    width, height = BUCKETS[bucket]
    return torch.tensor([[height, width, 0, 0, height, width]] * _BATCH, dtype=torch.float32)


def _statistics(out: Path, vae: AutoencoderKL, latents: Tensor, first_rank: bool) -> tuple[Tensor, Tensor]:
    """Mean and deviation per channel, (4, 1, 1); kept in a file so that all processes and later stages agree."""
    file = out / "latents.pt"
    if first_rank and not file.exists():
        set_statistics(vae, latents[:, :4])
        torch.save((vae.config.latents_mean, vae.config.latents_std), file)
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    mean, deviation = (torch.tensor(values)[:, None, None] for values in torch.load(file))
    return mean, deviation


def load_statistics(out: Path) -> tuple[list[float], list[float]]:
    """Mean and deviation of each latent channel, as the stage has saved them."""
    mean, deviation = torch.load(out / "latents.pt")
    return mean, deviation
