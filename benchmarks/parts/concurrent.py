"""Eight requests at any time, all alike but for prompt and seed: images per second against the server with a lock."""

from contextlib import ExitStack
from statistics import median
from typing import Any

from benchmarks.context import BUCKETS, STEPS, Context, alike, run_closed, say, used
from benchmarks.figures import Figure, Must
from benchmarks.systems import COMPILED, LITSERVE, ONE_LOCK, OURS, RAY, Running, others_stopped, ours, peer
from sdxl_runtime.bench.summary import Summary, summarise

NAMES = ("8 concurrent against one lock",)
_MUST = Must(">=", 1.6)
_CONCURRENCY = 8
_REQUESTS = 24


def measure(context: Context) -> list[Figure]:
    """The median over rounds of the ratio within a round; all servers are up, one at a time runs."""
    names = [
        name + end for end in ("", *([COMPILED] if context.compiled else [])) for name in (ONE_LOCK, LITSERVE, RAY)
    ]
    with ExitStack() as stack:
        servers: list[Running] = [stack.enter_context(ours(context.model, BUCKETS, context.logs, context.bank))]
        for name in names:
            say(f"starting {name}")
            servers.append(stack.enter_context(peer(name, context.model, context.logs)))
        found: dict[str, list[Summary]] = {server.name: [] for server in servers}
        buckets: dict[str, int] = {}
        count = context.count(_REQUESTS, _CONCURRENCY)
        for round_ in range(context.rounds):
            for server in servers:
                say(f"round {round_ + 1} of {context.rounds}: {server.name}, {count} requests of {STEPS} steps")
                with others_stopped(server, servers):
                    records = run_closed(server.url, alike(seed=200 + round_), _CONCURRENCY, count)
                found[server.name].append(summarise(records))
                if server.name == OURS:
                    buckets = dict(used(records))
        return [_figure(found, buckets)]


def _figure(found: dict[str, list[Summary]], buckets: dict[str, int]) -> Figure:
    def ratio(name: str) -> float:
        pairs = zip(found[OURS], found[name], strict=True)
        return median(mine.images_per_second / its.images_per_second for mine, its in pairs)

    peers: dict[str, Any] = {
        name: {
            "imagesPerSecond": round(median(s.images_per_second for s in summaries), 4),
            "meanLatencySeconds": round(median(s.latency.mean for s in summaries if s.latency), 3),
            "failed": sum(s.failed for s in summaries),
            "oursPerThis": round(ratio(name), 4),
        }
        for name, summaries in found.items()
    }
    return Figure(
        NAMES[0], round(ratio(ONE_LOCK), 4), "times its images/s", _MUST, {**peers, "ourBucketsInTheLastRound": buckets}
    )
