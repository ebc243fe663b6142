"""A client that goes away in the middle of a picture: how many evaluations its row still gets."""

import asyncio
import re
from typing import Any

import httpx2

from benchmarks.context import BUCKETS, SIZE, Context, alike, run_closed, say
from benchmarks.figures import Figure, Must
from benchmarks.systems import Running, ours

NAMES = ("cancel until the row is free",)
_MUST = Must("<=", 1)
_TRIALS = 10
_STEPS = 100
"""More than a trial lets happen."""
_BEFORE = 3
"""Evaluations that a picture gets before its client goes."""
_POLL_SECONDS = 0.002
_GIVE_UP_SECONDS = 60
_EXECUTED = re.compile(r"^sdxl_evaluations_executed_total (\S+)", re.MULTILINE)


def measure(context: Context) -> list[Figure]:
    """The most evaluations, over all trials, that were executed after the connection was closed.

    The one that runs when the client goes is among them: nothing can take it back.
    """
    with ours(context.model, BUCKETS[:1], context.logs, context.bank) as server:
        run_closed(server.url, alike(seed=500), 1, 2)
        (record,) = run_closed(server.url, alike(seed=501), 1, 1)
        step = record.phases["denoise"] / record.steps
        count = context.count(_TRIALS, 3)
        say(f"2 × {count} clients that go away, plain and streaming; a step takes {step:.3f} s")
        found = asyncio.run(_trials(server, count))
    worst = max(trial["evaluations"] for trials in found.values() for trial in trials)
    about: dict[str, Any] = {
        kind: {
            "evaluationsAfter": [trial["evaluations"] for trial in trials],
            "stepsUntilIdle": [round(trial["seconds"] / step, 2) for trial in trials],
        }
        for kind, trials in found.items()
    }
    return [Figure(NAMES[0], worst, "evaluations", _MUST, {**about, "stepSeconds": round(step, 4)})]


async def _trials(server: Running, count: int) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {}
    async with httpx2.AsyncClient(timeout=30) as probe:
        for kind, extra in (("plain", {}), ("stream", {"stream": True})):
            found[kind] = [await _trial(server, probe, extra) for _ in range(count)]
    return found


async def _trial(server: Running, probe: httpx2.AsyncClient, extra: dict[str, Any]) -> dict[str, float]:
    """Evaluations, and seconds until nothing is in flight, after the connection was closed."""
    body = {"prompt": "x", "size": f"{SIZE}x{SIZE}", "num_inference_steps": _STEPS, "guidance_scale": 5.0, **extra}
    started = await _executed(server, probe)
    async with httpx2.AsyncClient(timeout=None) as client:
        request = asyncio.create_task(_consume(client, f"{server.url}/v1/images/generations", body))
        while (before := await _executed(server, probe)) < started + _BEFORE:
            if request.done():
                raise RuntimeError(f"the runtime answered {request.result()}")
            await asyncio.sleep(_POLL_SECONDS)
        request.cancel()
        await asyncio.wait([request])
    loop = asyncio.get_running_loop()
    closed = loop.time()
    while (await probe.get(f"{server.internal}/v1/load")).json()["inFlight"]:
        if loop.time() > closed + _GIVE_UP_SECONDS:
            break
        await asyncio.sleep(_POLL_SECONDS)
    seconds = loop.time() - closed
    return {"evaluations": await _executed(server, probe) - before, "seconds": seconds}


async def _consume(client: httpx2.AsyncClient, url: str, body: dict[str, Any]) -> str:
    """Read an answer to its end; what it was, for the case that it comes to one."""
    async with client.stream("POST", url, json=body) as response:
        content = await response.aread()
        return f"{response.status_code} {content[:300]!r}"


async def _executed(server: Running, probe: httpx2.AsyncClient) -> float:
    found = _EXECUTED.search((await probe.get(f"{server.internal}/metrics")).text)
    if found is None:
        raise RuntimeError("the runtime has no metric sdxl_evaluations_executed_total")
    return float(found[1])
