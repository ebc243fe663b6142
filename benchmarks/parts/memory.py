"""Ten thousand requests of one step at the smallest bucket: how much the runtime's resident memory grows.

With the demo model, whose step is the shortest there is: what a leak adds per request does not depend on the model.
"""

from pathlib import Path

import sdxl_runtime.demo_model
from benchmarks import bank
from benchmarks.context import Context, run_closed, say
from benchmarks.figures import Figure, Must
from benchmarks.systems import ours, resident_bytes
from sdxl_runtime.bench.record import Record
from sdxl_runtime.bench.schedule import Mix, Workload
from sdxl_runtime.buckets import Bucket

NAMES = ("resident memory growth over 10,000 requests",)
_MUST = Must("<", 2)
_REQUESTS = 10_000
_FIRST = 500
_EVERY = 250
_CONCURRENCY = 4
_BUCKET = Bucket(64, 64)
_VARIANT = "fp16"


def measure(context: Context) -> list[Figure]:
    """The largest later sample against the one after the first 500."""
    model = Path(sdxl_runtime.demo_model.__file__).parent / "weights"
    banked = bank.fill(context.root, model, (_BUCKET,), _VARIANT) if context.bank else None
    workload = Workload(Mix((_BUCKET.size,), (1.0,)), Mix((1,), (1.0,)), seed=900)
    samples: list[tuple[int, int]] = []
    done = 0
    with ours(model, (_BUCKET,), context.logs, banked, {"SDXL_MODEL_VARIANT": _VARIANT}) as server:

        def progress(record: Record) -> None:
            nonlocal done
            if not record.ok:
                raise RuntimeError(f"the runtime answered {record.status} {record.error}")
            done += 1
            if done % _EVERY == 0:
                samples.append((done, resident_bytes(server.process.pid)))

        count = context.count(_REQUESTS, 2 * _FIRST)
        say(f"{count} requests of one step at {_BUCKET.key}")
        run_closed(server.url, workload, _CONCURRENCY, count, progress)
    return [_figure(samples, count)]


def _figure(samples: list[tuple[int, int]], count: int) -> Figure:
    first = next(size for done, size in samples if done >= _FIRST)
    largest = max(size for done, size in samples if done > _FIRST)
    about = {
        "requests": count,
        "residentMiB": {str(done): round(size / 2**20, 1) for done, size in samples},
        "growthAtTheEndPercent": round(100 * (samples[-1][1] / first - 1), 3),
    }
    note = "" if count >= _REQUESTS else f"only {count} requests"
    return Figure(NAMES[0], round(100 * (largest / first - 1), 3), "%", _MUST, about, note)
