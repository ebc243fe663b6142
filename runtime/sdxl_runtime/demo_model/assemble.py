"""Puts the trained parts of a training folder together: `python -m sdxl_runtime.demo_model.assemble OUT WEIGHTS`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline

from sdxl_runtime.demo_model.recipe import new_scheduler, new_unet, new_vae, save
from sdxl_runtime.demo_model.stages.loop import averaged_weights
from sdxl_runtime.demo_model.stages.text import load_text
from sdxl_runtime.demo_model.stages.unet import load_statistics


def assemble(out: Path) -> StableDiffusionXLPipeline:
    """The pipeline in float32 from the checkpoints of all three stages in `out`, as far as they have come."""
    tokenizer, encoders = load_text(out)
    vae, unet = new_vae(), new_unet()
    vae.load_state_dict(averaged_weights("vae", out))
    mean, deviation = load_statistics(out)
    vae.register_to_config(latents_mean=mean, latents_std=deviation)
    unet.load_state_dict(averaged_weights("unet", out))
    return StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=encoders.first,
        text_encoder_2=encoders.second,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=new_scheduler(),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


def main() -> None:
    """Assemble, round to fp16 and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder that training has written")
    parser.add_argument("weights", type=Path, help="folder to write, in the layout of `save_pretrained`")
    options = parser.parse_args()
    save(assemble(options.out).to(dtype=torch.float16), options.weights)


if __name__ == "__main__":
    main()
