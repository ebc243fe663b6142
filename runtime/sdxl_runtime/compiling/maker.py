"""Compile a bucket on a device, and answer with what was measured."""

import copy
import time
from pathlib import Path
from typing import Any, ClassVar

import torch

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.compiling.measure import COMPARED, TOLERANCES, interleaved
from sdxl_runtime.compiling.result import Made
from sdxl_runtime.device import Device, Graph
from sdxl_runtime.pipeline import Pipeline
from sdxl_runtime.pipeline.loading import load
from sdxl_runtime.progress import Progress
from sdxl_runtime.reference import PICTURES, Difference, Latents, PictureSet, Reference, difference, record
from sdxl_runtime.settings import Settings
from sdxl_runtime.termination import Failure, Reason


class RealMaker:
    """Compiles with the device; the model is loaded once, when the first bucket has to be made."""

    def __init__(self, settings: Settings, device: Device) -> None:
        self.settings = settings
        self.device = device
        self._pipeline: Pipeline | None = None

    def make(self, bucket: Bucket, folder: Path, progress: Progress) -> Made:
        """Eager warm-up → compile → measure both in turns → compare the latents of a fixed seed and prompt set.

        What eager painted in few steps stays as the entry's reference: what is kept has painted it too.
        """
        clock = _Clock(progress)
        clock.enter("Loading")
        pipeline = self._load()
        _check_size(bucket, pipeline.size_multiple)
        inputs = pipeline.unet_inputs(bucket, PICTURES.seed)
        eager = self.device.eager(_as_diffusers_loads_it(pipeline.unet))
        clock.enter("WarmingUp")
        eager(*inputs)
        self.device.synchronise()
        clock.enter("Compiling")
        self.device.compile(pipeline.unet, bucket, inputs, folder, clock.enter)
        compiled = self.device.load(pipeline.unet, bucket, folder)
        clock.enter("Measuring")
        times = interleaved((eager, compiled), inputs, self.device.synchronise)
        clock.enter("Comparing")
        found = difference(*(_painted(pipeline, graph, bucket, COMPARED) for graph in (eager, compiled)))
        reference = _painted(pipeline, eager, bucket, PICTURES)
        found = found.worst(difference(reference, _painted(pipeline, compiled, bucket, PICTURES)))
        tolerance = TOLERANCES[str(pipeline.dtype).removeprefix("torch.")]
        recorded = record(folder, PICTURES, reference)
        return Made(times[0], times[1], found, tolerance, clock.seconds(), reference=recorded)

    def compare(self, bucket: Bucket, folder: Path, reference: Reference) -> Difference:
        """Paint the recorded jobs with the entry and eagerly, and compare both with what was recorded."""
        pipeline = self._load()
        eager = self.device.eager(_as_diffusers_loads_it(pipeline.unet))
        compiled = self.device.load(pipeline.unet, bucket, folder)
        painted = (_painted(pipeline, graph, bucket, reference.pictures) for graph in (eager, compiled))
        without, with_entry = (difference(reference.latents, latents) for latents in painted)
        return with_entry.worst(without)

    def _load(self) -> Pipeline:
        if self._pipeline is None:
            self._pipeline = load(self.settings, self.device)
        return self._pipeline


def _painted(pipeline: Pipeline, graph: Graph, bucket: Bucket, pictures: PictureSet) -> Latents:
    latents: Latents = pipeline.denoise(graph, bucket, pictures.jobs(bucket)).cpu().numpy()
    return latents


def _as_diffusers_loads_it(unet: Any) -> Any:
    """A copy that owns contiguous convolution weights and shares all others: a device may lay those of `unet` out anew,
    and eager is not to be measured on a layout that only suits the compiled graph."""
    shared = {id(tensor): tensor for tensor in unet.state_dict(keep_vars=True).values() if tensor.dim() != 4}
    return copy.deepcopy(unet, shared).to(memory_format=torch.contiguous_format)


def _check_size(bucket: Bucket, multiple: int) -> None:
    if bucket.width % multiple or bucket.height % multiple:
        raise Failure(
            Reason.INVALID_SETTINGS,
            f"width and height of {bucket.key} must be multiples of {multiple} for this model",
            bucket.key,
        )


class _Clock:
    """Seconds by phase; entering a stage ends the one before."""

    NAMES: ClassVar = {
        "Loading": "load",
        "WarmingUp": "warm",
        "Exporting": "export",
        "Compiling": "compile",
        "Measuring": "measure",
        "Comparing": "compare",
    }

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._entered: list[tuple[str, float]] = []

    def enter(self, stage: str) -> None:
        """The next stage starts."""
        self._progress.stage(stage)
        self._entered.append((stage, time.monotonic()))

    def seconds(self) -> dict[str, float]:
        """Ends the last stage."""
        ends = [*(start for _, start in self._entered[1:]), time.monotonic()]
        spent: dict[str, float] = {}
        for (stage, start), end in zip(self._entered, ends, strict=True):
            name = self.NAMES.get(stage, stage.lower())
            spent[name] = spent.get(name, 0) + end - start
        return spent
