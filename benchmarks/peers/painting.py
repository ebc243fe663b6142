"""What all peers share: the diffusers pipeline at its best settings for a CPU, requests, answers."""

import base64
import io
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

THREADS = len(os.sched_getaffinity(0))
"""As many as the runtime takes; the benchmark pins everybody to two processors."""
MAXIMUM_BATCH = 8
"""The largest declared batch of the runtime is the same."""
BATCH_WAIT_SECONDS = 0.05
"""How long the first of a batch waits for others: a fraction of one evaluation."""
COMPILE = "BENCH_COMPILE"
"""Environment: `1` compiles the UNet's repeated blocks, as diffusers' page on speed shows."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One picture."""

    prompt: str
    seed: int
    steps: int
    guidance_scale: float
    width: int
    height: int

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Asked":
        """From a body of `POST /v1/images/generations`."""
        width, _, height = str(body["size"]).partition("x")
        return cls(
            str(body["prompt"]),
            int(body.get("seed", 0)),
            int(body["num_inference_steps"]),
            float(body["guidance_scale"]),
            int(width),
            int(height),
        )

    @property
    def key(self) -> tuple[int, float, int, int]:
        """One call of the pipeline takes one of each: requests can share a call where these are equal."""
        return self.steps, self.guidance_scale, self.width, self.height


def load(folder: Path) -> Any:
    """The pipeline in fp32 with two threads and weights in channels_last."""
    torch.set_num_threads(THREADS)
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.unet.to(memory_format=torch.channels_last)
    pipeline.vae.to(memory_format=torch.channels_last)
    if os.environ.get(COMPILE) == "1":
        pipeline.unet.compile_repeated_blocks(fullgraph=True, dynamic=True)
    return pipeline


def warm_up(pipeline: Any, size: int, batches: Sequence[int] = (1, 2, 4, MAXIMUM_BATCH)) -> None:
    """Run every batch once, with guidance."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch's compiler says about its own use of torch
        for batch in batches:
            paint(pipeline, [Asked("warm-up", seed, 2, 5.0, size, size) for seed in range(batch)])


def paint(pipeline: Any, asked: Sequence[Asked]) -> list[bytes]:
    """PNGs of requests that have the same key, in one call."""
    steps, guidance_scale, width, height = asked[0].key
    images = pipeline(
        [one.prompt for one in asked],
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        width=width,
        height=height,
        generator=[torch.Generator("cpu").manual_seed(one.seed) for one in asked],
    ).images
    return [_png(image) for image in images]


def paint_grouped(pipeline: Any, asked: Sequence[Asked]) -> list[bytes]:
    """PNGs of any requests, in their order: those with the same key in one call, one call after the other."""
    groups: dict[tuple[int, float, int, int], list[int]] = {}
    for index, one in enumerate(asked):
        groups.setdefault(one.key, []).append(index)
    painted: dict[int, bytes] = {}
    for indices in groups.values():
        painted |= zip(indices, paint(pipeline, [asked[index] for index in indices]), strict=True)
    return [painted[index] for index in range(len(asked))]


def answer(png: bytes) -> dict[str, Any]:
    """OpenAI's ImagesResponse."""
    return {"created": int(time.time()), "data": [{"b64_json": base64.b64encode(png).decode()}]}


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
