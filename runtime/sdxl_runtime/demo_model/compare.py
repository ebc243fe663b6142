"""Measures the LoRA and the refiner: `python -m sdxl_runtime.demo_model.compare adapter|refiner --scenes 60`.

Both are shown held-back prompts, with the base model's own pictures of the same seeds beside them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from PIL import Image

from sdxl_runtime.demo_model.adapter import FILE, PIXEL, merge
from sdxl_runtime.demo_model.evaluate import GUIDANCE, WEIGHTS, load, pictures
from sdxl_runtime.demo_model.judge import edge_width, judge
from sdxl_runtime.demo_model.recipe import REFINER_START
from sdxl_runtime.demo_model.refiner import REFINER, load_refiner
from sdxl_runtime.demo_model.scenes import BUCKETS, Scene, held_back_scenes
from sdxl_runtime.demo_model.style import hole_share, in_style

SCALES = (0.0, 0.5, 1.0)
STEPS = 20
_BATCH = 10

Figures = dict[str, float]


def compare_adapter(base: StableDiffusionXLPipeline, file: Path, scenes: list[Scene], steps: int) -> dict[str, Figures]:
    """For each scale: the share of pictures in the LoRA's style, and of those the judge finds right."""
    found = {}
    for scale in SCALES:
        merge(base.unet, file, scale)
        drawn = list(pictures(base, scenes, steps, GUIDANCE, 0))
        merge(base.unet, file, -scale)
        found[f"scale {scale}"] = {
            "in style": _mean([in_style(picture) for _, _, picture in drawn]),
            "hole share": _mean([hole_share(picture) for _, _, picture in drawn]),
            "right": _mean([judge(picture, hollow=True).agrees(scene) for scene, _, picture in drawn]),
            **_attributes(drawn),
        }
    return found


def _attributes(drawn: list[tuple[Scene, tuple[int, int], Image.Image]]) -> Figures:
    rights = [judge(picture, hollow=True).right(scene) for scene, _, picture in drawn]
    return {name: _mean([right[name] for right in rights]) for name in rights[0]}


def compare_refiner(
    base: StableDiffusionXLPipeline, refiner: StableDiffusionXLImg2ImgPipeline, scenes: list[Scene], steps: int
) -> dict[str, Figures]:
    """The last fifth of the steps by the base itself and by the refiner: what the judge says, how wide edges are."""
    ends: dict[str, list[tuple[Scene, Image.Image]]] = {"base": [], "refiner": []}
    for number, bucket in enumerate(BUCKETS):
        mine = list(range(number, len(scenes), len(BUCKETS)))
        for start in range(0, len(mine), _BATCH):
            part = mine[start : start + _BATCH]
            some = [scenes[i] for i in part]
            latents = begin(base, some, bucket, part, steps)
            for name, pipeline in (("base", _last_steps(base)), ("refiner", refiner)):
                ends[name] += zip(some, finish(pipeline, latents, some, steps), strict=True)
    return {
        name: {
            "right": _mean([judge(picture).agrees(scene) for scene, picture in drawn]),
            "edge width in pixels": _mean([edge_width(picture) for _, picture in drawn]),
        }
        for name, drawn in ends.items()
    }


def begin(
    base: StableDiffusionXLPipeline, scenes: list[Scene], bucket: tuple[int, int], seeds: list[int], steps: int
) -> torch.Tensor:
    """The base model's latents where the refiner takes over; one seed for each scene."""
    latents: torch.Tensor = base(
        [scene.prompt for scene in scenes],
        width=bucket[0],
        height=bucket[1],
        num_inference_steps=steps,
        guidance_scale=GUIDANCE,
        denoising_end=REFINER_START,
        output_type="latent",
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
    ).images
    return latents


def finish(
    pipeline: StableDiffusionXLImg2ImgPipeline, latents: torch.Tensor, scenes: list[Scene], steps: int
) -> list[Image.Image]:
    """The remaining steps by `pipeline`, and the pictures."""
    images: list[Image.Image] = pipeline(
        [scene.prompt for scene in scenes],
        image=latents,
        num_inference_steps=steps,
        guidance_scale=GUIDANCE,
        denoising_start=REFINER_START,
    ).images
    return images


def _last_steps(base: StableDiffusionXLPipeline) -> StableDiffusionXLImg2ImgPipeline:
    """The base model as a pipeline that can begin in the middle."""
    parts = {name: part for name, part in base.components.items() if name not in ("image_encoder", "feature_extractor")}
    pipeline = StableDiffusionXLImg2ImgPipeline(**parts, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _mean(values: list[bool] | list[float] | list[float | None]) -> float:
    """The mean of those that are there."""
    return round(float(np.mean([value for value in values if value is not None])), 4)


def main() -> None:
    """Parse the arguments, draw, judge, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("adapter", "refiner"))
    parser.add_argument("--scenes", type=int, default=60, help="how many of the held-back scenes")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--json", type=Path, help="file to write the result to")
    options = parser.parse_args()
    base, scenes = load(WEIGHTS), held_back_scenes()[: options.scenes]
    if options.what == "adapter":
        figures = compare_adapter(base, PIXEL / FILE, scenes, options.steps)
    else:
        figures = compare_refiner(base, load_refiner(base, REFINER), scenes, options.steps)
    result = {"scenes": len(scenes), "steps": options.steps, "guidance": GUIDANCE, "seed": 0, **figures}
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
