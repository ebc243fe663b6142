"""Resident memory with four compiled buckets of equal work against one: the weights are there once."""

from benchmarks import bank
from benchmarks.context import Context, say
from benchmarks.figures import Figure, Must
from benchmarks.systems import ours, resident_bytes
from sdxl_runtime.buckets import Bucket

NAMES = ("resident memory: four buckets against one",)
_MUST = Must("<=", 1.15)
_BUCKETS = (Bucket(256, 256), Bucket(512, 128), Bucket(128, 512), Bucket(1024, 64))
"""Each has 65,536 pixels."""


def measure(context: Context) -> list[Figure]:
    """After warm-up, that is after every bucket ran once."""
    filled = bank.fill(context.root, context.model, _BUCKETS)
    found = {}
    for count in (1, len(_BUCKETS)):
        say(f"{count} bucket{'s' if count > 1 else ''}")
        with ours(context.model, _BUCKETS[:count], context.logs, filled) as server:
            found[count] = resident_bytes(server.process.pid)
            backends = {row["key"]: row["backend"] for row in server.buckets}
    about = {"residentMiB": {str(count): round(size / 2**20) for count, size in found.items()}, "backends": backends}
    value = found[len(_BUCKETS)] / found[1]
    return [Figure(NAMES[0], round(value, 4), "times that of one", _MUST, about)]
