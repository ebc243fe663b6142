"""Every bucket run once with its real batch and guidance, and measured: afterwards nothing compiles."""

import time
from collections.abc import Callable
from typing import TypeVar

from sdxl_runtime.buckets import Bucket, Cost
from sdxl_runtime.jobs import Job
from sdxl_runtime.painter import Painter

STEPS = 4
_T = TypeVar("_T")


def measure(painter: Painter, bucket: Bucket, scheduler: str) -> Cost:
    """Run all stages of a full batch of a bucket; the fastest of a few evaluations is its cost."""
    refine = painter.refines
    job = Job("warm-up", None, (bucket,), bucket.batch, 0, STEPS, 5.0, scheduler, refine=refine)
    encode, rows = _timed(painter, lambda: painter.encode(job, bucket, range(bucket.batch)))
    steps = []
    while not rows[0].done:
        steps.append(_timed(painter, lambda: painter.step(bucket, rows))[0])
        painter.preview(rows[0])
    painter.decode(rows[0])
    decode, _ = _timed(painter, lambda: painter.decode(rows[-1]))
    return Cost(min(steps), encode / bucket.batch + decode)


def _timed(painter: Painter, work: Callable[[], _T]) -> tuple[float, _T]:
    painter.synchronise()
    began = time.perf_counter()
    result = work()
    painter.synchronise()
    return time.perf_counter() - began, result
