"""Puts together what training has left: `python -m sdxl_runtime.demo_model.assemble base|pixel|refiner OUT TARGET`.

`base` writes the whole pipeline; `pixel` the LoRA's file; `refiner` the refiner's UNet and index, the rest of which it
shares with the base model.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline

from sdxl_runtime.demo_model.adapter import FILE, Adapter
from sdxl_runtime.demo_model.evaluate import WEIGHTS, load
from sdxl_runtime.demo_model.recipe import (
    ADAPTER_RANK,
    new_refiner_unet,
    new_scheduler,
    new_unet,
    new_vae,
    save,
)
from sdxl_runtime.demo_model.refiner import pipeline_of
from sdxl_runtime.demo_model.stages.loop import averaged_weights
from sdxl_runtime.demo_model.stages.text import load_text
from sdxl_runtime.demo_model.stages.unet import load_statistics


def assemble(out: Path) -> StableDiffusionXLPipeline:
    """The pipeline in float32 from the checkpoints of the base's three stages in `out`, as far as they have come."""
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


def write_base(out: Path, target: Path) -> None:
    """Write the base model in fp16, in the layout of `save_pretrained`."""
    save(assemble(out).to(dtype=torch.float16), target)


def write_pixel(out: Path, target: Path) -> None:
    """Write the LoRA's file into the folder `target`."""
    adapter = Adapter(new_unet(), ADAPTER_RANK)
    adapter.load_state_dict(averaged_weights("pixel", out))
    adapter.save(target / FILE)


def write_refiner(out: Path, target: Path) -> None:
    """Write `model_index.json` and `unet` of the refiner, in fp16."""
    base = load(WEIGHTS)
    unet = new_refiner_unet(base.unet)
    unet.load_state_dict(averaged_weights("refiner", out))
    with tempfile.TemporaryDirectory() as folder:
        pipeline_of(base, unet).to(dtype=torch.float16).save_pretrained(folder, variant="fp16", safe_serialization=True)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(Path(folder) / "unet", target / "unet")
        shutil.copy(Path(folder) / "model_index.json", target)
        config = target / "unet" / "config.json"
        # NB: where the weights it began with were read from: a path of the machine that trained it
        kept = {name: value for name, value in json.loads(config.read_text()).items() if name != "_name_or_path"}
        config.write_text(json.dumps(kept, indent=2) + "\n")


WRITERS = {"base": write_base, "pixel": write_pixel, "refiner": write_refiner}


def main() -> None:
    """Assemble, round to fp16 and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=WRITERS)
    parser.add_argument("out", type=Path, help="folder that training has written")
    parser.add_argument("target", type=Path, help="folder to write")
    options = parser.parse_args()
    WRITERS[options.part](options.out, options.target)


if __name__ == "__main__":
    main()
