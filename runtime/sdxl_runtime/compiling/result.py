"""What making a bucket yields: times, difference, and the files left in staging. No torch."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.device import simulated
from sdxl_runtime.progress import Progress
from sdxl_runtime.reference import (
    PICTURES,
    Difference,
    Latents,
    PictureSet,
    Reference,
    Tolerance,
    difference,
    record,
)


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds per UNet evaluation at the bucket's batch with guidance."""

    median: float
    minimum: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> "Times":
        """Median and minimum of several."""
        return cls(median(milliseconds), min(milliseconds))


@dataclass(frozen=True, slots=True)
class Made:
    """A compiled bucket, measured: its files lie in the staging folder."""

    eager: Times
    compiled: Times
    difference: Difference
    tolerance: Tolerance
    seconds: Mapping[str, float] = field(default_factory=dict)
    """By phase: `export`, `compile`, `measure`, `compare`."""
    created_by: Mapping[str, str] = field(default_factory=dict)
    reference: Mapping[str, Any] = field(default_factory=dict)
    """The manifest's member of that name; its file lies in the folder too."""

    @property
    def speedup_percent(self) -> float:
        """Eager is 100; by the minima, as what else the machine does can only add to a time."""
        return 100 * self.eager.minimum / self.compiled.minimum


class Maker(Protocol):
    """Compiles a bucket into a folder and measures it."""

    def make(self, bucket: Bucket, folder: Path, progress: Progress) -> Made:
        """Leave the entry's files in `folder`; `progress` is told each stage."""

    def compare(self, bucket: Bucket, folder: Path, reference: Reference) -> Difference:
        """How far a published entry's pictures are from its reference here, with the entry or without: the worse."""


class SimulatedMaker:
    """Compiles nothing: takes the stated time and states a speed-up that nobody measured."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def make(self, bucket: Bucket, folder: Path, progress: Progress) -> Made:
        """No file but the reference; the manifest says that it is simulated."""
        progress.stage("Compiling")
        time.sleep(self.seconds)
        eager, compiled = 20.0 * bucket.batch, 15.0 * bucket.batch
        return Made(
            Times(eager, eager),
            Times(compiled, compiled),
            Difference(0.0, math.inf),
            Tolerance(0.0, 0.0),
            {"compile": self.seconds},
            {"backend": "Simulated"},
            record(folder, PICTURES, _painted(bucket, PICTURES)),
        )

    def compare(self, bucket: Bucket, folder: Path, reference: Reference) -> Difference:
        """With what the simulated device paints for the recorded jobs."""
        return difference(reference.latents, _painted(bucket, reference.pictures))


def _painted(bucket: Bucket, pictures: PictureSet) -> Latents:
    return np.stack([simulated.latents(job.prompt, job.seed, bucket) for job in pictures.jobs(bucket)])
