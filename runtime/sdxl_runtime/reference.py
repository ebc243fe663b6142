"""What an entry's pictures must be: a fixed set of jobs, and the latents that eager made of them. No torch.

The compile Job leaves it beside what it compiled; whoever runs the bucket with that entry paints the same and compares.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.jobs import Job

FILE = "reference.safetensors"
"""In the entry's folder: `latents`, `[B,4,h,w]` in FP32."""
TENSOR = "latents"

Latents = NDArray[np.float32]


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

    def worst(self, other: "Difference") -> "Difference":
        """The worse of each figure; what is not a number stays so."""
        return Difference(
            float(np.maximum(self.latent_maximum, other.latent_maximum)), float(np.minimum(self.psnr, other.psnr))
        )

    def to_json(self) -> dict[str, float]:
        """For manifest and `/readyz`. JSON has no infinity: equal latents have a PSNR of 999, no picture has -999."""
        psnr = rounded(self.psnr) if math.isfinite(self.psnr) else 999 if self.psnr == math.inf else -999
        return {"latentMaximum": rounded(self.latent_maximum), "psnr": psnr}

    def __str__(self) -> str:
        found = self.to_json()
        return f"{found['latentMaximum']} (PSNR {found['psnr']} dB)"


def rounded(value: float) -> float:
    """Four significant digits: what was measured, without false precision."""
    return float(f"{value:.4g}") if math.isfinite(value) else 1e9


def difference(expected: NDArray[Any], found: NDArray[Any]) -> Difference:
    """Compare latents; the PSNR's peak is the range of the expected values. Those of another shape differ without end.

    PSNR = 20 log10(peak) − 10 log10(mean squared error), as in ITU-T J.340.
    """
    if expected.shape != found.shape:
        return Difference(math.inf, -math.inf)
    with np.errstate(all="ignore"):  # what is no number is told as one that exceeds every tolerance
        wide = expected.astype(np.float64)
        gap = wide - found.astype(np.float64)
        error, peak = float(np.square(gap).mean()), float(wide.max() - wide.min())
        largest = float(np.abs(gap).max())
    if error == 0:
        return Difference(0.0, math.inf)
    psnr = 20 * math.log10(peak) - 10 * math.log10(error) if peak > 0 else -math.inf
    return Difference(largest, psnr)


@dataclass(frozen=True, slots=True)
class PictureSet:
    """Jobs that are the same each time: picture i of a batch has prompt i, repeated to the batch, and seed + i."""

    prompts: tuple[str, ...]
    seed: int
    steps: int
    guidance_scale: float
    scheduler: str

    def jobs(self, bucket: Bucket) -> list[Job]:
        """One job per image of a bucket's batch."""
        return [
            Job(
                self.prompts[index % len(self.prompts)],
                None,
                (bucket,),
                1,
                self.seed + index,
                self.steps,
                self.guidance_scale,
                self.scheduler,
            )
            for index in range(bucket.batch)
        ]

    def to_json(self) -> dict[str, Any]:
        """For the manifest: whoever compares paints what the writer painted, whatever its own set is by then."""
        return {
            "prompts": list(self.prompts),
            "seed": self.seed,
            "steps": self.steps,
            "guidanceScale": self.guidance_scale,
            "scheduler": self.scheduler,
        }

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> "PictureSet":
        """Read what `to_json` made.

        Raises:
            ValueError: a member is missing, or is not what it must be.
        """
        try:
            found = cls(
                tuple(str(prompt) for prompt in item["prompts"]),
                int(item["seed"]),
                int(item["steps"]),
                float(item["guidanceScale"]),
                str(item["scheduler"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"the reference's members cannot be read: {type(error).__name__}: {error}") from None
        if not found.prompts or found.steps < 1:
            raise ValueError(f"the reference has {len(found.prompts)} prompts and {found.steps} steps; at least 1 each")
        return found


PICTURES = PictureSet(
    (
        "a large red circle at the center on a blue background",
        "a photograph of an astronaut riding a horse",
        "a small green square in the top left on a white background",
        "an oil painting of a lighthouse in a storm, dramatic light",
    ),
    seed=20260101,
    steps=4,
    guidance_scale=5.0,
    scheduler="Euler",
)
"""What is recorded today. Few steps, since every start of a replica takes them: other weights or another graph are away
by whole units after the first."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What was recorded with an entry."""

    pictures: PictureSet
    latents: Latents
    tolerance: Tolerance


@dataclass(frozen=True, slots=True)
class NoReference:
    """There is nothing to compare with; `why` is a sentence."""

    why: str


References = dict[Bucket, Reference | NoReference]
"""What the pictures of each bucket must be, as far as it is known. One thread uses it."""


def record(folder: Path, pictures: PictureSet, latents: Latents) -> dict[str, Any]:
    """Write the latents into an entry's folder; returns the manifest's member `reference`."""
    content = save({TENSOR: np.ascontiguousarray(latents, dtype=np.float32)})
    (folder / FILE).write_bytes(content)
    return {"file": FILE, **pictures.to_json()}


def read(folder: Path, recorded: Mapping[str, Any], tolerance: Mapping[str, Any]) -> Reference:
    """The reference of a verified entry, by its manifest's members `reference` and `tolerance`.

    Raises:
        ValueError: it is none.
        OSError: its file cannot be read.
    """
    pictures = PictureSet.from_json(recorded)
    try:
        allowed = Tolerance(float(tolerance["latentMaximum"]), float(tolerance["psnr"]))
        latents = load((folder / str(recorded["file"])).read_bytes())[TENSOR]
    except OSError:
        raise
    except Exception as error:  # safetensors has an exception of its own, which is not a ValueError
        raise ValueError(f"the reference cannot be read: {type(error).__name__}: {error}") from error
    return Reference(pictures, latents, allowed)
