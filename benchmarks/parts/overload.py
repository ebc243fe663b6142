"""Four times as many requests as can be served: what comes in time, and how soon the others are told no."""

from benchmarks.context import BUCKETS, STEPS, Context, alike, run_closed, run_open, say
from benchmarks.figures import Figure, Must
from benchmarks.systems import Running, ours
from sdxl_runtime.bench.load import Bound
from sdxl_runtime.bench.summary import Summary, summarise

NAMES = ("4× overload: goodput against the peak", "4× overload: p99 of a rejection")
_MUST = (Must(">=", 0.9), Must("<", 0.05))
_QUEUE_LIMIT_SECONDS = 20
_DEADLINE_SECONDS = 2 * _QUEUE_LIMIT_SECONDS
"""What is accepted waits for at most the limit, by the measured cost of the work before it."""
_CONCURRENCY = 16
_PEAK_REQUESTS = 32
"""In each half."""
_SECONDS = 120
_TIMES = 4


def measure(context: Context) -> list[Figure]:
    """The peak is a closed loop that fills every batch, half of it before the overload and half after it.

    Goodput counts from the first request to the last answer.
    """
    limit = {"SDXL_QUEUE_LIMIT_SECONDS": str(_QUEUE_LIMIT_SECONDS)}
    with (
        ours(context.model, BUCKETS, context.logs, context.bank) as unlimited,
        ours(context.model, BUCKETS, context.logs, context.bank, limit) as server,
    ):
        run_closed(server.url, alike(seed=701), 1, 2)
        halves = [_peak(context, unlimited, 700)]
        rate, seconds = _TIMES * halves[0].images_per_second, max(30.0, _SECONDS * context.scale)
        say(f"{seconds:.0f} s at {rate:.2f} requests/s of {STEPS} steps")
        summary = summarise(run_open(server.url, alike(seed=702), rate, Bound(seconds=seconds)), _DEADLINE_SECONDS)
        halves.append(_peak(context, unlimited, 703))
    peak = sum(half.images for half in halves) / sum(half.seconds for half in halves)
    about = {
        "peakImagesPerSecond": round(peak, 4),
        "peakOfEachHalf": [round(half.images_per_second, 4) for half in halves],
        "goodputImagesPerSecond": round(summary.goodput or 0.0, 4),
        "queueLimitSeconds": _QUEUE_LIMIT_SECONDS,
        "deadlineSeconds": _DEADLINE_SECONDS,
        "requests": summary.requests,
        "completed": summary.completed,
        "rejections": summary.rejections,
        "failed": summary.errors,
        "p99LatencySeconds": round(summary.latency.p99, 3) if summary.latency else None,
    }
    rejection = summary.rejection_latency
    return [
        Figure(NAMES[0], round((summary.goodput or 0.0) / peak, 4), "of the peak", _MUST[0], about),
        Figure(
            NAMES[1],
            round(rejection.p99, 4) if rejection else None,
            "seconds",
            _MUST[1],
            about,
            "" if rejection else "nothing was rejected",
        ),
    ]


def _peak(context: Context, server: Running, seed: int) -> Summary:
    count = context.count(_PEAK_REQUESTS, _CONCURRENCY)
    say(f"peak: {count} requests, {_CONCURRENCY} at any time")
    return summarise(run_closed(server.url, alike(seed=seed), _CONCURRENCY, count))
