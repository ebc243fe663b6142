"""Measures the demo model: `python -m sdxl_runtime.demo_model.evaluate --scenes 200 --steps 20`.

Draws held-back prompts, lets the judge name what it sees, and counts. Buckets take turns, so that each gets a third.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image

from sdxl_runtime.demo_model.judge import ATTRIBUTES, judge
from sdxl_runtime.demo_model.scenes import BUCKETS, Scene, held_back_scenes

WEIGHTS = Path(__file__).with_name("weights")
GUIDANCE = 3.0
_BATCH = 10

Picture = tuple[Scene, tuple[int, int], Image.Image]


def load(weights: Path) -> StableDiffusionXLPipeline:
    """The pipeline on the CPU in float32, its weights stored in float16."""
    pipeline: StableDiffusionXLPipeline = StableDiffusionXLPipeline.from_pretrained(
        weights, variant="fp16", dtype=torch.float32, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def pictures(
    pipeline: StableDiffusionXLPipeline, scenes: list[Scene], steps: int, guidance: float, seed: int
) -> Iterator[Picture]:
    """One picture for each scene, with its bucket; the i-th scene's seed is `seed` + i, its bucket the (i mod 3)-th."""
    for number, (width, height) in enumerate(BUCKETS):
        mine = list(range(number, len(scenes), len(BUCKETS)))
        for start in range(0, len(mine), _BATCH):
            part = mine[start : start + _BATCH]
            drawn = pipeline(
                [scenes[i].prompt for i in part],
                width=width,
                height=height,
                num_inference_steps=steps,
                guidance_scale=guidance,
                generator=[torch.Generator().manual_seed(seed + i) for i in part],
            ).images
            yield from ((scenes[i], (width, height), image) for i, image in zip(part, drawn, strict=True))


def score(drawn: list[Picture]) -> dict[str, float]:
    """Share of pictures judged right: all attributes together, each attribute, and all together by bucket."""
    verdicts = [(scene, bucket, judge(image)) for scene, bucket, image in drawn]
    result = {"all": _share([verdict.agrees(scene) for scene, _, verdict in verdicts])}
    for name in ATTRIBUTES:
        result[name] = _share([verdict.right(scene)[name] for scene, _, verdict in verdicts])
    for width, height in BUCKETS:
        mine = [verdict.agrees(scene) for scene, bucket, verdict in verdicts if bucket == (width, height)]
        result[f"{width}x{height}"] = _share(mine)
    return result


def _share(right: list[bool]) -> float:
    return round(sum(right) / max(1, len(right)), 4)


def sheet(drawn: list[Picture], columns: int = 10) -> Image.Image:
    """All pictures on one, in the order given."""
    rows = -(-len(drawn) // columns)
    side = max(max(bucket) for bucket in BUCKETS) + 4
    paper = Image.new("RGB", (columns * side, rows * side), (128, 128, 128))
    for i, (_, _, image) in enumerate(drawn):
        paper.paste(image, (i % columns * side, i // columns * side))
    return paper


def main() -> None:
    """Parse the arguments, draw, judge, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--scenes", type=int, default=200, help="how many of the held-back scenes")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file to write the result to")
    parser.add_argument("--sheet", type=Path, help="PNG to write all pictures to")
    options = parser.parse_args()
    scenes = held_back_scenes()[: options.scenes]
    drawn = list(pictures(load(options.weights), scenes, options.steps, options.guidance, options.seed))
    result = {
        "scenes": len(scenes),
        "steps": options.steps,
        "guidance": options.guidance,
        "seed": options.seed,
        "right": score(drawn),
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    if options.sheet:
        sheet(drawn).save(options.sheet)


if __name__ == "__main__":
    main()
