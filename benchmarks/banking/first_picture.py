"""From the start of a process to its first picture: with what the bank holds, against compiling first."""

import shutil
import time
from statistics import median

from benchmarks import bank
from benchmarks.context import BUCKETS, Context, alike, run_closed, say
from benchmarks.figures import Figure, Must
from benchmarks.systems import ours

NAMES = ("start to first picture: bank against cold compile",)
_MUST = Must("<=", 0.15)


def measure(context: Context) -> list[Figure]:
    """One bucket, the smallest. Cold: `compile` into an empty bank, then the same start."""
    buckets = BUCKETS[:1]
    cold = context.root / "cold"
    shutil.rmtree(cold, ignore_errors=True)
    cold.mkdir()
    say("compiling into an empty bank")
    began = time.monotonic()
    filled = bank.fill(cold, context.model, buckets)
    compiling = time.monotonic() - began
    starts = [_start(context, filled) for _ in range(context.rounds)]
    shutil.rmtree(cold, ignore_errors=True)
    start = median(starts)
    about = {"compileSeconds": round(compiling, 1), "startSeconds": [round(seconds, 1) for seconds in starts]}
    return [Figure(NAMES[0], round(start / (compiling + start), 4), "of the cold start's seconds", _MUST, about)]


def _start(context: Context, filled: bank.Filled) -> float:
    began = time.monotonic()
    with ours(context.model, BUCKETS[:1], context.logs, filled) as server:
        (record,) = run_closed(server.url, alike(), 1, 1)
        if not record.ok:
            raise RuntimeError(f"the runtime answered {record.status} {record.error}")
        return time.monotonic() - began
