"""What every part of `make bench-runtime` is given, and how it sends load."""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import bank
from sdxl_runtime.bench.client import Client
from sdxl_runtime.bench.load import Bound, Clock, Progress, closed, opened
from sdxl_runtime.bench.record import Record
from sdxl_runtime.bench.schedule import Mix, Workload, requests
from sdxl_runtime.buckets import Bucket

SIZE = 256
"""Width and height of the pictures; latents are 32×32."""
BATCHES = (1, 2, 4, 8)
BUCKETS = tuple(Bucket(SIZE, SIZE, batch) for batch in BATCHES)
STEPS = 8
"""Of each picture where the part does not mix them."""


@dataclass(frozen=True, slots=True)
class Context:
    """The same for every part."""

    root: Path
    """Where models, banks and logs are kept."""
    model: Path
    bank: bank.Filled | None
    """None: the runtime runs eagerly."""
    rounds: int
    """How often systems take turns."""
    scale: float
    """1 is the whole part; less sends fewer requests."""
    compiled: bool
    """Whether each peer also runs with its UNet compiled."""

    @property
    def logs(self) -> Path:
        """A folder that exists."""
        folder = self.root / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def count(self, whole: int, least: int = 1) -> int:
        """A number of requests at this run's scale."""
        return max(least, round(whole * self.scale))


def alike(steps: int = STEPS, guidance: float = 5.0, seed: int = 0) -> Workload:
    """Requests that differ in prompt and seed only."""
    return Workload(Mix((f"{SIZE}x{SIZE}",), (1.0,)), Mix((steps,), (1.0,)), Mix((guidance,), (1.0,)), seed=seed)


def run_closed(
    url: str, workload: Workload, concurrency: int, count: int, progress: Progress | None = None
) -> list[Record]:
    """So many requests in a closed loop; `progress` is called with each record, by default a dot is printed."""
    return asyncio.run(_run(url, workload, None, concurrency, Bound(requests=count), progress or _dot))


def run_open(url: str, workload: Workload, rate: float, bound: Bound) -> list[Record]:
    """Requests as a Poisson process, per second."""
    return asyncio.run(_run(url, workload, rate, 0, bound, _dot))


async def _run(
    url: str, workload: Workload, rate: float | None, concurrency: int, bound: Bound, progress: Progress
) -> list[Record]:
    clock = Clock()
    async with Client(url, clock, timeout=3600) as client:
        plan = requests(workload, rate)
        clock.reset()
        if rate is not None:
            return await opened(client, plan, clock, bound, progress)
        return await closed(client, plan, clock, concurrency, bound, progress)


def say(text: str) -> None:
    """A line of progress."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def used(records: Sequence[Record]) -> Mapping[str, int]:
    """How many requests each bucket served."""
    counts: dict[str, int] = {}
    for record in records:
        if record.bucket:
            counts[record.bucket] = counts.get(record.bucket, 0) + 1
    return dict(sorted(counts.items()))


def _dot(record: Record) -> None:
    print("." if record.ok else "-" if record.rejected else "!", end="", file=sys.stderr, flush=True)
