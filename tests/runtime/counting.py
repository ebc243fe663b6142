"""A painter that only counts, for tests of the engine's thread. No torch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from sdxl_runtime.batcher import Batcher
from sdxl_runtime.buckets import Bucket, Cost
from sdxl_runtime.engine import Engine
from sdxl_runtime.health import Health
from sdxl_runtime.jobs import Adapter, Job
from sdxl_runtime.metrics import Metrics
from sdxl_runtime.renewal import Unbound

ONE, FOUR = Bucket(64, 64), Bucket(64, 64, 4)


@dataclass
class Row:
    job: Job
    index: int
    steps_left: int
    refine_at: int = -1

    @property
    def done(self) -> bool:
        return self.steps_left == 0

    @property
    def refining(self) -> bool:
        return self.steps_left <= self.refine_at


@dataclass
class CountingPainter:
    """Writes down what it is asked; `on_step` may fail or wait."""

    on_step: Callable[[], None] = lambda: None
    adapters: Sequence[str] = ("pixel", "outline")
    refines: bool = False
    plain: str = "Eager"
    calls: list[str] = field(default_factory=list)
    compiled: int = 3

    def count_tokens(self, text: str) -> int:
        return 2

    def latents(self, row: Row) -> np.ndarray:
        return np.zeros((4, 8, 8), dtype=np.float32)

    def synchronise(self) -> None:
        self.calls.append("synchronise")

    def compilations(self) -> int:
        return self.compiled

    def bind(self, bucket: Bucket, folder: Path) -> str:
        self.calls.append(f"bind {bucket.key} {folder.name}")
        return "AheadOfTime"

    def release(self, bucket: Bucket) -> None:
        self.calls.append(f"release {bucket.key}")

    def use(self, adapters: tuple[Adapter, ...]) -> None:
        self.calls.append(f"use {' '.join(adapter.name for adapter in adapters) or 'none'}")

    def text_adapters(self, adapters: tuple[Adapter, ...]) -> tuple[Adapter, ...]:
        return tuple(adapter for adapter in adapters if adapter.name == "outline")

    def encode(self, job: Job, bucket: Bucket, indices: Sequence[int]) -> list[Row]:
        self.calls.append(f"encode {job.prompt} {list(indices)}")
        return [Row(job, index, job.steps_taken, 1 if job.refine else -1) for index in indices]

    def step(self, bucket: Bucket, rows: Sequence[Row]) -> None:
        assert len({row.refining for row in rows}) == 1, "an evaluation is the base model's or the refiner's"
        names = " ".join(f"{row.job.prompt}{row.index}" for row in rows)
        self.calls.append(f"{'refine' if rows[0].refining else 'step'} {bucket.key} {names}")
        self.on_step()
        for row in rows:
            row.steps_left -= 1

    def preview(self, row: Row) -> Image.Image:
        self.calls.append(f"preview {row.job.prompt}{row.index}")
        return Image.new("RGB", (64, 64), (row.steps_left, 0, 0))

    def decode(self, row: Row) -> Image.Image:
        self.calls.append(f"decode {row.job.prompt}{row.index}")
        return Image.new("RGB", (64, 64), (row.index, 0, 0))

    def served(self) -> list[str]:
        """The calls that belong to no warm-up."""
        last = max((i for i, call in enumerate(self.calls) if "warm-up" in call), default=-1)
        return [call for call in self.calls[last + 1 :] if call != "synchronise"]

    def steps(self) -> list[str]:
        """The evaluations, without warm-up's."""
        return [call for call in self.served() if call.startswith(("step", "refine"))]


def a_job(
    prompt: str = "x",
    n: int = 1,
    steps: int = 3,
    buckets: tuple[Bucket, ...] = (ONE,),
    adapters: tuple[str, ...] = (),
    refine: bool = False,
    partial_images: int = 0,
) -> Job:
    return Job(
        prompt,
        None,
        buckets,
        n,
        0,
        steps,
        5.0,
        "Euler",
        adapters=tuple(Adapter(name) for name in adapters),
        refine=refine,
        partial_images=partial_images,
    )


@dataclass
class Running:
    engine: Engine
    batcher: Batcher
    health: Health
    metrics: Metrics


@contextmanager
def running(
    painter: CountingPainter, buckets: Sequence[Bucket] = (ONE,), unbound: Unbound | None = None
) -> Iterator[Running]:
    """An engine that has warmed up and serves; it is stopped at the end."""
    costs: dict[Bucket, Cost] = {}
    health, batcher, metrics = Health(buckets), Batcher(1e6, 60, costs), Metrics("CPU")

    def open_painter() -> CountingPainter:
        for bucket in buckets:
            health.bound(bucket, "Eager")
        health.loaded("0" * 16)
        return painter

    engine = Engine(open_painter, batcher, health, metrics, buckets, costs, unbound=unbound)
    engine.start()
    try:
        assert engine.settled.wait(10)
        yield Running(engine, batcher, health, metrics)
    finally:
        batcher.stop()
        assert engine.join(10)
