"""The demo model's refiner as diffusers runs it: loaded beside the base, whose VAE and text encoder it shares."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    EulerDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)

REFINER = Path(__file__).with_name("refiner")


def pipeline_of(base: StableDiffusionXLPipeline, unet: UNet2DConditionModel) -> StableDiffusionXLImg2ImgPipeline:
    """The pipeline of a refiner's UNet, with the parts it shares with the base."""
    return StableDiffusionXLImg2ImgPipeline(
        vae=base.vae,
        text_encoder=None,
        text_encoder_2=base.text_encoder_2,
        tokenizer=None,
        tokenizer_2=base.tokenizer_2,
        unet=unet,
        scheduler=EulerDiscreteScheduler.from_config(base.scheduler.config),
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


def load_refiner(base: StableDiffusionXLPipeline, folder: Path = REFINER) -> StableDiffusionXLImg2ImgPipeline:
    """The refiner of `folder` (its `unet` is read) in float32."""
    unet = UNet2DConditionModel.from_pretrained(
        folder / "unet", variant="fp16", dtype=torch.float32, local_files_only=True
    )
    pipeline = pipeline_of(base, unet)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
