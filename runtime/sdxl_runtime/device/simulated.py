"""No accelerator: sleeps a stated time per evaluation and draws a picture that only depends on prompt and seed.

For scaling, gateway and fault tests on small machines. Needs neither model files nor torch. Nothing it shows or
measures is a result: every response, metric and picture says Simulated.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sdxl_runtime import __version__
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.jobs import Adapter, Job
from sdxl_runtime.settings import Backend, Precision, Settings, SimulatedDifference

if TYPE_CHECKING:
    import torch

    from sdxl_runtime.device import Graph


class SimulatedDevice:
    """A device without tensors. It cannot compile: nothing would be compiled."""

    backend = Backend.SIMULATED

    def __init__(self, chip: str = "Simulated", driver: str = "") -> None:
        self.chip = chip
        self.driver = driver

    @property
    def torch_device(self) -> "torch.device":
        """Always raises: there are no tensors."""
        _refuse("has no tensors")

    def dtype(self, precision: Precision) -> "torch.dtype":
        """Always raises: there are no tensors."""
        _refuse("has no tensors")

    def facts(self) -> Mapping[str, str]:
        """Part of the identity."""
        return {"chip": self.chip, "driver": self.driver, "runtime": __version__}

    def synchronise(self) -> None:
        """Nothing runs in the background."""

    def compilations(self) -> int:
        """Nothing ever compiles."""
        return 0

    def eager(self, unet: Any) -> "Graph":
        """Always raises: there is no UNet."""
        _refuse("runs no UNet")

    def compile(
        self,
        unet: Any,
        bucket: Bucket,
        inputs: "tuple[torch.Tensor, ...]",
        folder: Path,
        progress: Callable[[str], None],
    ) -> None:
        """Always raises: there is no UNet."""
        _refuse("compiles nothing")

    def load(self, unet: Any, bucket: Bucket, folder: Path) -> "Graph":
        """Always raises: there is no UNet."""
        _refuse("loads nothing")


def open_device(settings: Settings) -> SimulatedDevice:
    """The simulated device, which is always there; chip and driver are what a simulated card says of itself."""
    return SimulatedDevice(settings.simulated_chip, settings.simulated_driver)


@dataclass(slots=True)
class SimulatedRow:
    """A picture that is only counted."""

    job: Job
    bucket: Bucket
    seed: int
    steps_left: int
    refining: bool = False

    @property
    def done(self) -> bool:
        """Whether every step was slept."""
        return self.steps_left <= 0


class SimulatedPainter:
    """A `painter.Painter` without a model; `milliseconds` is the time of an evaluation per picture of the batch."""

    adapters: Sequence[str] = ()
    refines = False
    plain = Backend.SIMULATED.value

    def __init__(
        self,
        milliseconds: float,
        sleep: Callable[[float], None] = time.sleep,
        fail_after: int = 0,
        differs: SimulatedDifference = SimulatedDifference.NONE,
    ) -> None:
        self.milliseconds = milliseconds
        self._sleep = sleep
        self._fail_after = fail_after
        self._differs = differs
        self._evaluations = 0
        self._bound: set[Bucket] = set()

    def count_tokens(self, text: str) -> int:
        """About what CLIP's tokenizer counts: a start, an end, and a token per word."""
        return len(text.split()) + 2

    def synchronise(self) -> None:
        """Nothing runs in the background."""

    def compilations(self) -> int:
        """Nothing ever compiles."""
        return 0

    def bind(self, bucket: Bucket, folder: Path) -> str:
        """An entry holds nothing to run."""
        self._bound.add(bucket)
        return self.plain

    def release(self, bucket: Bucket) -> None:
        """An entry held nothing to run."""
        self._bound.discard(bucket)

    def use(self, adapters: tuple[Adapter, ...]) -> None:
        """There are no adapters."""

    def text_adapters(self, adapters: tuple[Adapter, ...]) -> tuple[Adapter, ...]:
        """There are none."""
        return ()

    def encode(self, job: Job, bucket: Bucket, indices: Sequence[int]) -> list[SimulatedRow]:
        """The rows of some pictures of a job; takes no time."""
        return [SimulatedRow(job, bucket, job.seed_of(index), job.steps_taken) for index in indices]

    def step(self, bucket: Bucket, rows: Sequence[SimulatedRow]) -> None:
        """Sleep one evaluation of the bucket, whatever part of its batch is used."""
        self._evaluations += 1
        if 0 < self._fail_after < self._evaluations:
            raise RuntimeError(f"the simulated device is lost: SDXL_SIMULATED_FAIL_AFTER is {self._fail_after}")
        self._sleep(self.milliseconds * bucket.batch / 1000)
        for row in rows:
            row.steps_left -= 1

    def preview(self, row: SimulatedRow) -> Image.Image:
        """The picture that is to come, greyed by the steps that are left."""
        grey = Image.new("RGB", (row.bucket.width, row.bucket.height), "grey")
        return Image.blend(self.decode(row), grey, row.steps_left / (row.job.steps_taken + 1))

    def decode(self, row: SimulatedRow) -> Image.Image:
        """A circle on a ground, both coloured by prompt and seed, marked as simulated; an edit keeps its ground."""
        job = row.job
        digest = hashlib.sha256(f"{job.prompt}\0{job.negative_prompt}\0{row.seed}".encode()).digest()
        width, height = row.bucket.width, row.bucket.height
        image = Image.new("RGB", (width, height), _colour(digest[0:3])) if job.start is None else job.start.image.copy()
        draw = ImageDraw.Draw(image)
        radius = min(width, height) // 4
        x = radius + digest[6] * (width - 2 * radius) // 256
        y = radius + digest[7] * (height - 2 * radius) // 256
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(digest[3:6]))
        draw.text((4, 4), "Simulated", fill="white", stroke_width=1, stroke_fill="black")
        return image

    def latents(self, row: SimulatedRow) -> NDArray[np.float32]:
        """Those of its prompt and seed, `OFF` away where the settings say that its bucket's pictures differ."""
        found = latents(row.job.prompt, row.seed, row.bucket)
        with_entry = self._differs is SimulatedDifference.COMPILED and row.bucket in self._bound
        return found + OFF if with_entry or self._differs is SimulatedDifference.ALL else found


OFF = np.float32(0.5)
"""How far simulated latents are from the recorded ones where they are to differ."""


def latents(prompt: str, seed: int, bucket: Bucket) -> NDArray[np.float32]:
    """Latents that only depend on prompt and seed: `[4,h,w]`, an eighth of the bucket's size, deviation about 1."""
    shape = (4, bucket.height // 8, bucket.width // 8)
    drawn = hashlib.shake_256(f"{prompt}\0{seed}".encode()).digest(shape[0] * shape[1] * shape[2])
    values = np.frombuffer(drawn, np.uint8).astype(np.float32)
    return ((values - np.float32(127.5)) / np.float32(74)).reshape(shape)


def _colour(values: bytes) -> tuple[int, int, int]:
    return values[0], values[1], values[2]


def _refuse(what: str) -> NoReturn:
    raise RuntimeError(f"the simulated device {what}")
