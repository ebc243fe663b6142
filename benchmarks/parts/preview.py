"""The first preview of a stream: when it comes, against when its step ends in a stream without previews."""

import asyncio
import json
import time
from statistics import median
from typing import Any

import httpx2

from benchmarks.context import BUCKETS, SIZE, Context, alike, run_closed, say
from benchmarks.figures import Figure, Must
from benchmarks.systems import ours

NAMES = ("first preview against the time of its step",)
_MUST = Must("<=", 1.2)
_PAIRS = 5
_STEPS = 16
_PREVIEWS = 3
_PARTIAL, _PROGRESS = "image_generation.partial_image", "image_generation.progress"

Event = tuple[float, dict[str, Any]]
"""Seconds from when the request was sent, and what came."""


def measure(context: Context) -> list[Figure]:
    """Pairs of the same request, without and with previews; the median of their ratios."""
    with ours(context.model, BUCKETS[:1], context.logs, context.bank) as server:
        run_closed(server.url, alike(seed=800), 1, 2)
        url = f"{server.url}/v1/images/generations"
        pairs = context.count(_PAIRS) * context.rounds
        say(f"{pairs} pairs of streams, {_STEPS} steps, {_PREVIEWS} previews")
        found = [asyncio.run(_pair(url, seed)) for seed in range(pairs)]
    about = {
        "steps": [step for step, _, _ in found],
        "stepSeconds": [round(seconds, 4) for _, seconds, _ in found],
        "previewSeconds": [round(seconds, 4) for _, _, seconds in found],
    }
    value = median(preview / plain for _, plain, preview in found)
    return [Figure(NAMES[0], round(value, 4), "times the seconds until its step ended", _MUST, about)]


async def _pair(url: str, seed: int) -> tuple[int, float, float]:
    """The step of the first preview, the seconds until that step's end without previews, and until the preview."""
    plain = await _events(url, seed, 0)
    with_previews = await _events(url, seed, _PREVIEWS)
    step, preview = first_preview(with_previews)
    return step, next(at for at, event in plain if event["type"] == _PROGRESS and event["step"] == step), preview


def first_preview(events: list[Event]) -> tuple[int, float]:
    """The step that the first preview is of, and when it came: the step whose progress was told nearest to it.

    Raises:
        RuntimeError: the stream has no preview, or tells no progress.
    """
    came = next((at for at, event in events if event["type"] == _PARTIAL), None)
    told = [(at, int(event["step"])) for at, event in events if event["type"] == _PROGRESS and event["step"] > 0]
    if came is None or not told:
        raise RuntimeError(f"the stream has no preview or no progress: {sorted({e['type'] for _, e in events})}")
    return min(told, key=lambda item: abs(item[0] - came))[1], came


async def _events(url: str, seed: int, previews: int) -> list[Event]:
    body = {
        "prompt": "a lighthouse",
        "size": f"{SIZE}x{SIZE}",
        "seed": seed,
        "num_inference_steps": _STEPS,
        "guidance_scale": 5.0,
        "stream": True,
        "partial_images": previews,
        "progress": True,
    }
    async with httpx2.AsyncClient(timeout=600) as client:
        began = time.perf_counter()
        async with client.stream("POST", url, json=body) as response:
            if response.status_code != 200:
                raise RuntimeError(f"the runtime answered {response.status_code} {(await response.aread())[:300]!r}")
            source = httpx2.EventSource(response)
            return [(time.perf_counter() - began, json.loads(event.data)) async for event in source]
