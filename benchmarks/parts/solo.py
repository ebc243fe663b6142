"""One request at a time at the smallest declared batch, over HTTP, against a loop around diffusers without a server."""

from contextlib import ExitStack
from statistics import median
from typing import Any

from benchmarks.context import BUCKETS, STEPS, Context, alike, run_closed, say
from benchmarks.figures import Figure, Must
from benchmarks.systems import BARE, COMPILED, OURS, bare_loop, ours
from sdxl_runtime.bench.schedule import requests

NAMES = ("one request against the bare loop",)
_MUST = Must("<=", 1.05)
_TURNS = 5
"""Pictures of each in a round, in turns."""


def measure(context: Context) -> list[Figure]:
    """The ratio of medians; every system paints the same requests, one after the other, ABAB."""
    with ExitStack() as stack:
        server = stack.enter_context(ours(context.model, BUCKETS[:1], context.logs, context.bank))
        loops = {BARE: stack.enter_context(bare_loop(context.model, context.logs))}
        if context.compiled:
            loops[BARE + COMPILED] = stack.enter_context(bare_loop(context.model, context.logs, compiled=True))
        seconds: dict[str, list[float]] = {OURS: [], **{name: [] for name in loops}}
        run_closed(server.url, alike(seed=1), 1, 2)
        turns = context.count(_TURNS) * context.rounds
        say(f"{turns} pictures of each, {STEPS} steps")
        for turn in range(turns):
            workload = alike(seed=100 + turn)
            for name, loop in loops.items():
                seconds[name].append(loop.seconds(next(requests(workload)).body))
            (record,) = run_closed(server.url, workload, 1, 1)
            if not record.ok:
                raise RuntimeError(f"the runtime answered {record.status} {record.error}")
            seconds[OURS].append(record.latency)
        return [_figure(seconds, server.buckets)]


def _figure(seconds: dict[str, list[float]], buckets: Any) -> Figure:
    value = median(seconds[OURS]) / median(seconds[BARE])
    peers: dict[str, Any] = {
        name: {
            "medianSeconds": round(median(values), 4),
            "minimumSeconds": round(min(values), 4),
            "pictures": len(values),
            "oursPerThis": round(median(seconds[OURS]) / median(values), 4),
            "oursPerThisOfMinima": round(min(seconds[OURS]) / min(values), 4),
        }
        for name, values in seconds.items()
    }
    return Figure(NAMES[0], round(value, 4), "times its seconds", _MUST, {**peers, "buckets": buckets})
