"""Is a compiled graph faster than eager, and is its picture the same: the two questions that keep or drop a bucket."""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from sdxl_runtime.compiling.result import Times
from sdxl_runtime.device import Graph
from sdxl_runtime.reference import PICTURES, Tolerance

COMPARED = replace(PICTURES, steps=8)
"""What decides whether a bucket is kept, beside the reference itself: more steps than a server can be asked to take."""

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
