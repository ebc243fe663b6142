"""Final latents among random mates against the same request alone in the same bucket: how many are equal, bit by bit.

The engine runs in this process as `serve` puts it together. All draws are sent as one stream of requests: each has its
own time of arrival, bucket, steps, guidance, scheduler, prompt and seed, and some of them are cancelled on their way.
So every request joins others that are in the middle of theirs, sits wherever a row is free, and sees them leave.
"""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from benchmarks.context import BUCKETS, Context, say
from benchmarks.figures import Figure, Must
from sdxl_runtime.app import Service
from sdxl_runtime.bench.schedule import PROMPTS
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.jobs import Job
from sdxl_runtime.protocol import SCHEDULERS
from sdxl_runtime.serving import create_service
from sdxl_runtime.settings import CompileMode, Precision, Settings

NAMES = ("final latents equal to the solo run",)
_MUST = Must("==", 100)
_DRAWS = 200
_DRAWS_BF16 = 24
_CANCELLED = 0.2
"""Share of further requests that are cancelled before they end; they are mates, not draws."""
_STEPS = (2, 8)
_CROWD = 2.5
"""Requests arrive this many times faster than their lanes could serve them one by one."""
_WAIT_SECONDS = 3600


@dataclass(slots=True)
class Seen:
    """What was observed of the engine's work, by the seed of a row."""

    latents: dict[int, Any] = field(default_factory=dict)
    mates: dict[int, set[int]] = field(default_factory=dict)
    positions: dict[int, set[int]] = field(default_factory=dict)


def measure(context: Context) -> list[Figure]:
    """In percent of the draws, fp32 as it is served here; bf16 is reported beside it."""
    buckets = BUCKETS[1:]
    settings = Settings(
        model_path=context.model,
        buckets=buckets,
        compile_mode=CompileMode.AHEAD_OF_TIME if context.bank else CompileMode.EAGER,
        bank_path=context.bank.path if context.bank else None,
        bank_accepted=context.bank.accepted if context.bank else None,
        queue_limit_seconds=1e9,
        request_timeout_seconds=1e9,
    )
    fp32 = _equal(replace(settings, precision=Precision.FP32), context.count(_DRAWS, 10))
    eager = replace(settings, compile_mode=CompileMode.EAGER, buckets=buckets[:2])
    bf16 = _equal(replace(eager, precision=Precision.BF16), context.count(_DRAWS_BF16, 4))
    value = 100 * fp32["equal"] / fp32["draws"]
    return [Figure(NAMES[0], round(value, 2), "% of the draws", _MUST, {"fp32": fp32, "bf16 (eager)": bf16})]


def _equal(settings: Settings, count: int) -> dict[str, Any]:
    import torch

    chance = random.Random(f"bits {settings.precision}")
    jobs = [draw(chance, settings.buckets, seed) for seed in range(count)]
    extra = [draw(chance, settings.buckets, 1_000_000 + seed) for seed in range(round(count * _CANCELLED))]
    with _engine(settings) as (service, seen):
        say(f"{settings.precision}: {count} requests alone")
        for job in jobs:
            service.batcher.submit(job).result.result(_WAIT_SECONDS)
        alone = dict(seen.latents)
        seen.latents.clear()
        seen.mates.clear()
        seen.positions.clear()
        say(f"{settings.precision}: the same {count} together, and {len(extra)} that are cancelled")
        _together(service, chance, jobs, extra)
        backends = {bucket.key: service.health.backend(bucket) for bucket in settings.buckets}
    seeds = [job.seed for job in jobs]
    differences = [float((alone[seed] - seen.latents[seed]).abs().max()) for seed in seeds]
    return {
        "draws": count,
        "equal": sum(torch.equal(alone[seed], seen.latents[seed]) for seed in seeds),
        "largestDifference": max(differences),
        "drawsWithMates": sum(1 for seed in seeds if seen.mates.get(seed)),
        "meanMates": round(sum(len(seen.mates.get(seed, ())) for seed in seeds) / count, 2),
        "drawsOutsideRow0": sum(1 for seed in seeds if seen.positions[seed] != {0}),
        "drawsThatMoved": sum(1 for seed in seeds if len(seen.positions[seed]) > 1),
        "cancelled": sum(1 for job in extra if job.seed not in seen.latents),
        "backends": backends,
    }


def draw(chance: random.Random, buckets: Sequence[Bucket], seed: int) -> Job:
    """A random request, pinned to one bucket; its seed is its name."""
    return Job(
        prompt=chance.choice(PROMPTS),
        negative_prompt=chance.choice((None, "blurry")),
        buckets=(chance.choice(buckets),),
        n=1,
        seed=seed,
        steps=chance.randint(*_STEPS),
        guidance_scale=chance.choice((1.0, 1.5, 3.0, 5.0, 7.5, 9.0)),
        scheduler=chance.choice(SCHEDULERS),
    )


def _together(service: Service, chance: random.Random, jobs: Sequence[Job], extra: Sequence[Job]) -> None:
    """Send all in a random order and at random times, cancel the extra ones, and wait for the others."""
    mean = sum(_seconds(service, job) for job in jobs) / len(jobs)
    order = [*jobs, *extra]
    chance.shuffle(order)
    cancelled = {job.seed for job in extra}
    tickets, leaving = [], []
    for job in order:
        time.sleep(chance.expovariate(_CROWD / mean))
        ticket = service.batcher.submit(job)
        if job.seed in cancelled:
            after = chance.uniform(0, _seconds(service, job))
            leaving.append(threading.Timer(after, service.batcher.abandon, [ticket]))
            leaving[-1].start()
        else:
            tickets.append(ticket)
    for ticket in tickets:
        ticket.result.result(_WAIT_SECONDS)
    for timer in leaving:
        timer.join()


def _seconds(service: Service, job: Job) -> float:
    """What a request takes alone."""
    return service.engine.costs[job.buckets[0]].step * job.steps


@contextmanager
def _engine(settings: Settings) -> Iterator[tuple[Service, Seen]]:
    service, seen = create_service(settings), Seen()
    service.engine.start()
    service.engine.settled.wait()
    if service.engine.error is not None:
        raise service.engine.error
    _watch(service.engine.painter, seen)
    try:
        yield service, seen
    finally:
        service.batcher.stop()
        service.engine.join(_WAIT_SECONDS)


def _watch(painter: Any, seen: Seen) -> None:
    """Look over the painter's shoulder: who was in an evaluation, where, and the latents at the end.

    Decoding is left out: it comes after what is compared.
    """
    encode, step = painter.encode, painter.step
    names: dict[int, int] = {}

    def named(job: Job, bucket: Bucket, indices: Sequence[int]) -> list[Any]:
        rows: list[Any] = encode(job, bucket, indices)
        names.update({id(row): job.seed for row in rows})
        return rows

    def watched(bucket: Bucket, rows: Sequence[Any]) -> None:
        step(bucket, rows)
        seeds = [names[id(row)] for row in rows]
        for position, seed in enumerate(seeds):
            seen.mates.setdefault(seed, set()).update(set(seeds) - {seed})
            seen.positions.setdefault(seed, set()).add(position)

    def decode(row: Any) -> Image.Image:
        seen.latents[names[id(row)]] = row.sampler.latents.clone()
        return Image.new("RGB", (8, 8))

    painter.encode, painter.step, painter.decode = named, watched, decode
