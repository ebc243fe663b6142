"""Is a compiled graph faster than eager, and is its picture the same: the two questions that keep or drop a bucket."""

import gc
import math
import time
from collections.abc import Callable, Sequence

import torch

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.compiling.result import Difference, Times, Tolerance
from sdxl_runtime.device import Graph
from sdxl_runtime.jobs import Job

PROMPTS = (
    "a large red circle at the center on a blue background",
    "a photograph of an astronaut riding a horse",
    "a small green square in the top left on a white background",
    "an oil painting of a lighthouse in a storm, dramatic light",
)
"""The set that every comparison uses, repeated to the bucket's batch."""

SEED = 20260101
STEPS = 8
GUIDANCE_SCALE = 5.0


TOLERANCES = {
    "float32": Tolerance(0.01, 60),
    "float16": Tolerance(0.25, 40),
    "bfloat16": Tolerance(1.0, 30),
}
"""By the UNet's precision. A graph whose sums run in another order differs by 1e-5 (FP32) to 1e-1 (BF16) after some
steps with guidance; one that computes something else differs by whole units."""


def interleaved(
    graphs: Sequence[Graph],
    inputs: tuple[torch.Tensor, ...],
    synchronise: Callable[[], None],
    rounds: int = 9,
    seconds: float = 4.0,
) -> list[Times]:
    """Time the graphs in turns (ABAB…), so that what else the machine does meets all of them alike.

    At least `rounds` turns, more while `seconds` are not over; each graph ran once before, unmeasured.
    """
    milliseconds: list[list[float]] = [[] for _ in graphs]
    for graph in graphs:
        graph(*inputs)
    synchronise()
    gc.disable()
    try:
        end = time.perf_counter() + seconds
        while len(milliseconds[0]) < rounds or (time.perf_counter() < end and len(milliseconds[0]) < 25 * rounds):
            for graph, own in zip(graphs, milliseconds, strict=True):
                started = time.perf_counter()
                graph(*inputs)
                synchronise()
                own.append((time.perf_counter() - started) * 1e3)
    finally:
        gc.enable()
    return [Times.of(own) for own in milliseconds]


def difference(eager: torch.Tensor, compiled: torch.Tensor) -> Difference:
    """Compare latents of one shape; the PSNR's peak is the range of eager's values.

    PSNR = 20 log10(peak) − 10 log10(mean squared error), as in ITU-T J.340.
    """
    gap = eager.double() - compiled.double()
    error = gap.square().mean().item()
    peak = (eager.max() - eager.min()).item()
    if error == 0:
        return Difference(0.0, math.inf)
    psnr = 20 * math.log10(peak) - 10 * math.log10(error) if peak > 0 else -math.inf
    return Difference(gap.abs().max().item(), psnr)


def comparisons(bucket: Bucket) -> list[Job]:
    """One job per image of a bucket's batch, each with a prompt and a seed of its own."""
    return [
        Job(PROMPTS[index % len(PROMPTS)], None, (bucket,), 1, SEED + index, STEPS, GUIDANCE_SCALE, "Euler")
        for index in range(bucket.batch)
    ]
