"""Poisson arrivals of a mix of steps and guidance: images per second and mean latency against request-level batching.

Everybody gets the same requests at the same times, somewhat faster than the runtime can serve them with all it can
hold, measured before: below that, images per second would be those of the arrivals. Slower systems fall behind further.
"""

from contextlib import ExitStack
from statistics import median
from typing import Any

from benchmarks.context import BUCKETS, SIZE, Context, run_closed, run_open, say, used
from benchmarks.figures import Figure, Must
from benchmarks.systems import COMPILED, LITSERVE, OURS, RAY, Running, others_stopped, ours, peer
from sdxl_runtime.bench.load import Bound
from sdxl_runtime.bench.schedule import Mix, Workload, parse_guidances, parse_steps
from sdxl_runtime.bench.summary import Summary, summarise

NAMES = ("Poisson mix: images/s against request-level batching", "Poisson mix: mean latency against it")
_MUST = (Must(">=", 1.3), Must("<=", 0.75))
_REQUESTS = 64
_CAPACITY_REQUESTS = 32
_CONCURRENCY = 16
_TIMES = 1.25


def mixed(seed: int) -> Workload:
    """Steps 8, 16 or 32 and guidance 1 to 9 in whole numbers, so that requests that are alike do occur."""
    return Workload(Mix((f"{SIZE}x{SIZE}",), (1.0,)), parse_steps("8,16,32"), parse_guidances("1-9"), seed=seed)


def measure(context: Context) -> list[Figure]:
    """Medians over rounds; the better peer is the one with more images per second, for each figure its own."""
    names = [name + end for end in ("", *([COMPILED] if context.compiled else [])) for name in (LITSERVE, RAY)]
    with ExitStack() as stack:
        servers: list[Running] = [stack.enter_context(ours(context.model, BUCKETS, context.logs, context.bank))]
        for name in names:
            say(f"starting {name}")
            servers.append(stack.enter_context(peer(name, context.model, context.logs)))
        count = context.count(_CAPACITY_REQUESTS, _CONCURRENCY)
        say(f"capacity: {count} requests, {_CONCURRENCY} at any time")
        with others_stopped(servers[0], servers):
            capacity = summarise(run_closed(servers[0].url, mixed(299), _CONCURRENCY, count)).images_per_second
        rate, count = _TIMES * capacity, context.count(_REQUESTS)
        found: dict[str, list[Summary]] = {server.name: [] for server in servers}
        buckets: dict[str, int] = {}
        for round_ in range(context.rounds):
            for server in servers:
                say(f"round {round_ + 1} of {context.rounds}: {server.name}, {count} requests at {rate:.3f}/s")
                with others_stopped(server, servers):
                    records = run_open(server.url, mixed(300 + round_), rate, Bound(requests=count))
                found[server.name].append(summarise(records))
                if server.name == OURS:
                    buckets = dict(used(records))
    about = {"ratePerSecond": round(rate, 4), "ourCapacity": round(capacity, 4), "ourBucketsInTheLastRound": buckets}
    return figures(found, about)


def figures(found: dict[str, list[Summary]], about: dict[str, Any]) -> list[Figure]:
    """From the summaries of each system, a round each."""
    rivals = [name for name in found if name in (LITSERVE, RAY)]

    def pairs(name: str) -> list[tuple[Summary, Summary]]:
        return list(zip(found[OURS], found[name], strict=True))

    def faster(name: str) -> float:
        return median(mine.images_per_second / its.images_per_second for mine, its in pairs(name))

    def later(name: str) -> float:
        return median(mine.latency.mean / its.latency.mean for mine, its in pairs(name) if mine.latency and its.latency)

    peers: dict[str, Any] = {
        name: {
            "imagesPerSecond": round(median(s.images_per_second for s in summaries), 4),
            "meanLatencySeconds": round(median(s.latency.mean for s in summaries if s.latency), 3),
            "p95LatencySeconds": round(median(s.latency.p95 for s in summaries if s.latency), 3),
            "failed": sum(s.failed for s in summaries),
            "oursPerThis": {"imagesPerSecond": round(faster(name), 4), "meanLatency": round(later(name), 4)},
        }
        for name, summaries in found.items()
    }
    best = min(rivals, key=faster)
    soonest = max(rivals, key=later)
    return [
        Figure(NAMES[0], round(faster(best), 4), "times its images/s", _MUST[0], {**peers, **about, "better": best}),
        Figure(
            NAMES[1], round(later(soonest), 4), "times its seconds", _MUST[1], {**peers, **about, "better": soonest}
        ),
    ]
