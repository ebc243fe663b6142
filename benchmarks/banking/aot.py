"""Ahead-of-time against eager, per UNet evaluation of every bucket, as the compile Job measures it."""

import json
from datetime import UTC, datetime

from benchmarks import bank
from benchmarks.context import BUCKETS, Context
from benchmarks.figures import Figure, Must

NAMES = ("ahead-of-time against eager, the least of the buckets",)
_MUST = Must(">=", 1.2)


def measure(context: Context) -> list[Figure]:
    """From the manifests: minima of turns that alternate, at the bucket's real batch with guidance."""
    filled = bank.fill(context.root, context.model, BUCKETS)
    identity = json.loads(filled.accepted.read_bytes())["identity"]
    found = {}
    for bucket in BUCKETS:
        path = filled.path / identity / bucket.key / "manifest.json"
        manifest = json.loads(path.read_bytes())
        made = datetime.fromtimestamp(path.stat().st_mtime, UTC)  # an entry that is there already is not made again
        found[bucket.key] = {
            "times": round(manifest["eagerMilliseconds"] / manifest["compiledMilliseconds"], 3),
            **{name: manifest[name] for name in ("state", "eagerMilliseconds", "compiledMilliseconds")},
            "latentMaximum": manifest["difference"]["latentMaximum"],
            "made": made.isoformat(timespec="minutes"),
        }
    least = min(float(item["times"]) for item in found.values())
    return [Figure(NAMES[0], least, "times eager's speed", _MUST, found)]
