"""How long the only replica's rollout answers nobody where a bucket has to be compiled: its start, and no compiling."""

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from benchmarks.banking.cluster import cluster, labelled, start_seconds
from benchmarks.context import Context, say
from benchmarks.figures import Figure, Must

NAMES = ("downtime of one replica's rollout that recompiles, against the replica's own start",)
_MUST = Must("<=", 1.5)
_ONE = [{"width": 128, "height": 128}]
_TWO = [*_ONE, {"width": 160, "height": 96}]
_LOAD = ("--rate", "3", "--size", "128x128", "--steps", "1", "--timeout", "60")
"""Arrivals that do not wait for answers: a closed loop would spin while nobody answers, and slow the start down."""
_AROUND_SECONDS = 10


def measure(context: Context) -> list[Figure]:
    """The longest time between two pictures, against from when the new pod was made until it was ready."""
    with cluster() as here:
        here.apply(labelled("studio", "no", buckets=_ONE, replicas=1))
        here.ready("studio")
        (old,) = here.replicas("studio")
        load = here.load("studio", *_LOAD)
        time.sleep(_AROUND_SECONDS)
        say("the edit")
        here.apply(labelled("studio", "yes", buckets=_TWO, replicas=1))
        took = here.ready("studio")
        time.sleep(_AROUND_SECONDS)
        result = load.end()
        (new,) = here.replicas("studio")
        if new["metadata"]["uid"] == old["metadata"]["uid"]:
            raise RuntimeError("the replica was not replaced, so nothing was shown")
        status = here.get("sdxlservice", "studio")["status"]
    about = {
        "gapSeconds": round(longest_gap(result["requests"]), 1),
        "startSeconds": start_seconds(new),
        "rolloutSeconds": round(took, 1),
        "coldStart": status["coldStart"],
    }
    return [Figure(NAMES[0], round(about["gapSeconds"] / about["startSeconds"], 3), "times", _MUST, about)]


def longest_gap(requests: Sequence[dict[str, Any]]) -> float:
    """The longest time between two pictures, in seconds.

    Raises:
        RuntimeError: fewer than two came.
    """
    ends = sorted(float(item["ended"]) for item in requests if item["images"])
    if len(ends) < 2:
        raise RuntimeError(f"{len(ends)} of {len(requests)} requests got a picture")
    return max(later - earlier for earlier, later in pairwise(ends))
