"""What making a bucket yields: times, difference, and the files left in staging. No torch."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Protocol

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.progress import Progress


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
class Tolerance:
    """How far latents may be from eager's: maximum absolute difference (they have deviation about 1), PSNR in dB."""

    latent_maximum: float
    psnr: float


@dataclass(frozen=True, slots=True)
class Difference:
    """`latent_maximum`: largest absolute difference; `psnr`: dB, infinite where all is equal."""

    latent_maximum: float
    psnr: float

    def exceeds(self, tolerance: Tolerance) -> bool:
        """Whether the picture counts as changed; a value that is not a number does."""
        return not (self.latent_maximum <= tolerance.latent_maximum and self.psnr >= tolerance.psnr)

    def to_json(self) -> dict[str, float]:
        """For the manifest; JSON has no infinity, so equal latents have a PSNR of 999."""
        return {
            "latentMaximum": rounded(self.latent_maximum),
            "psnr": 999 if self.psnr == math.inf else rounded(self.psnr),
        }


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

    @property
    def speedup_percent(self) -> float:
        """Eager is 100; by the minima, as what else the machine does can only add to a time."""
        return 100 * self.eager.minimum / self.compiled.minimum


class Maker(Protocol):
    """Compiles a bucket into a folder and measures it."""

    def make(self, bucket: Bucket, folder: Path, progress: Progress) -> Made:
        """Leave the entry's files in `folder`; `progress` is told each stage."""


class SimulatedMaker:
    """Compiles nothing: takes the stated time and states a speed-up that nobody measured."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def make(self, bucket: Bucket, folder: Path, progress: Progress) -> Made:
        """No files; the manifest says that it is simulated."""
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
        )


def rounded(value: float) -> float:
    """Four significant digits: what was measured, without false precision."""
    return float(f"{value:.4g}") if math.isfinite(value) else 1e9
