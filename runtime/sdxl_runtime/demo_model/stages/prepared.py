"""What the stages that build on the finished base model share: its parts, encoded prompts, tables of latents."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from torch import Tensor, nn

from sdxl_runtime.demo_model.recipe import VAE_FACTOR
from sdxl_runtime.demo_model.scenes import BUCKETS, Scene, training_scenes
from sdxl_runtime.demo_model.stages.loop import half_precision
from sdxl_runtime.demo_model.stages.text import Encoders
from sdxl_runtime.demo_model.stages.unet import Prompts


@dataclass
class Drawn:
    """A picture, where on it errors count most (mode L), and how good it is, as an aesthetic score."""

    picture: Image.Image
    mask: Image.Image
    score: float = 0.0


Draw = Callable[[Scene, int, int, random.Random], Drawn]
"""Draws a scene, `width` by `height` pixels."""


@dataclass
class Table:
    """Of one bucket: standardised latents (n, 4, h, w), where errors count most (n, 1, h, w), scores (n,), prompts."""

    latents: Tensor
    weights: Tensor
    scores: Tensor
    prompts: Prompts

    def choose(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """`count` rows by lot, (count,), with a prompt that fits each: its states and its pooled state."""
        rows = rng.integers(0, len(self.latents), count)
        return torch.from_numpy(rows), *self.texts(rows, rng)

    def texts(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """A prompt by lot that fits each of the rows: its states and its pooled state."""
        fitting = [self.prompts.fitting[row] for row in rows]
        texts = torch.tensor([some[rng.integers(len(some))] for some in fitting])
        return self.prompts.states[texts].float(), self.prompts.pooled[texts].float()


def tables(base: StableDiffusionXLPipeline, draw: Draw, seed: int, count: int) -> list[Table]:
    """One table for each bucket, of `count` scenes by lot."""
    encoders = Encoders(base.tokenizer)
    encoders.first, encoders.second = base.text_encoder, base.text_encoder_2
    lots = random.Random(seed)
    found = []
    for width, height in BUCKETS:
        scenes = lots.sample(training_scenes(), count)
        drawn = [draw(scene, width, height, lots) for scene in scenes]
        prompts = Prompts.encode(scenes, base.tokenizer, encoders)
        latents, weights = encode(base, [one.picture for one in drawn]), _shares([one.mask for one in drawn])
        found.append(Table(latents, weights, torch.tensor([one.score for one in drawn]), prompts))
    return found


def encode(base: StableDiffusionXLPipeline, pictures: list[Image.Image]) -> Tensor:
    """Standardised latents of RGB pictures of one size."""
    vae = base.vae.to(memory_format=torch.channels_last)
    mean = torch.tensor(vae.config.latents_mean)[:, None, None]
    deviation = torch.tensor(vae.config.latents_std)[:, None, None]
    rows = []
    for start in range(0, len(pictures), 32):
        pixels = torch.from_numpy(np.stack([np.asarray(p) for p in pictures[start : start + 32]])).permute(0, 3, 1, 2)
        with torch.inference_mode(), half_precision():
            rows.append(vae.encode(pixels.float() / 127.5 - 1).latent_dist.mean.float())
    return (torch.cat(rows) - mean) / deviation


def _shares(masks: list[Image.Image]) -> Tensor:
    shares = torch.from_numpy(np.stack([np.asarray(mask) for mask in masks])).float()[:, None] / 255
    return nn.functional.max_pool2d(shares, VAE_FACTOR)


def for_training(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The UNet laid out as the CPU computes it fastest, backward too: plain matrix products beat fused attention."""
    unet = unet.to(memory_format=torch.channels_last)
    unet.set_attn_processor(AttnProcessor())
    return unet


def velocity(clean: Tensor, noisy: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The v with which a model that sees `noisy` = a x + b noise comes to `clean` at once, whatever x was."""
    return (a * noisy - clean) / b


def levels(signal: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Share of signal and of noise at time steps (n,), as (n, 1, 1, 1) each, from the schedule's `alphas_cumprod`."""
    kept = signal[steps][:, None, None, None]
    return kept.sqrt(), (1 - kept).sqrt()
