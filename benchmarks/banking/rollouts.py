"""Edits under load: accepted requests that fail with two replicas, and how long one replica answers nobody."""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from benchmarks.banking.cluster import Cluster, cluster, demo_service
from benchmarks.context import Context, say
from benchmarks.figures import Figure, Must

NAMES = (
    "rollout under load, restart: failed accepted requests",
    "rollout under load, recompile: failed accepted requests",
    "downtime of one replica's rollout that recompiles, against load and warm-up",
)
_MUST = (Must("==", 0), Must("==", 0), Must("<=", 1.5))
_ONE = [{"width": 128, "height": 128}]
_TWO = [*_ONE, {"width": 160, "height": 96}]
_LOAD = ("--rate", "0.5", "--size", "128x128", "--steps", "8", "--timeout", "300")
_BEFORE = 10
"""Seconds of load before the edit."""
_RESTART_SECONDS, _RECOMPILE_SECONDS, _DOWNTIME_SECONDS = 180, 420, 420


def measure(context: Context) -> list[Figure]:
    """With the demo model on CPUs, replicas taken down before their replacements start."""
    with cluster() as here:
        here.apply(demo_service("studio", buckets=_ONE, replicas=2))
        here.ready("studio")
        restart = _under_load(here, _RESTART_SECONDS, lambda: here.apply(_restarted(_ONE, 2)))
        recompile = _under_load(here, _RECOMPILE_SECONDS, lambda: here.apply(_restarted(_TWO, 2)))
        here.run("scale", "sdxl/studio", "--replicas=1")
        here.ready("studio")
        downtime = _downtime(here)
    return [
        _failed(NAMES[0], _MUST[0], restart),
        _failed(NAMES[1], _MUST[1], recompile),
        Figure(NAMES[2], round(downtime["gapSeconds"] / downtime["startSeconds"], 3), "times", _MUST[2], downtime),
    ]


def _restarted(buckets: list[dict[str, int]], replicas: int, edit: str = "yes") -> dict[str, Any]:
    """The service with a label that its pods did not have: they are replaced."""
    server = {**demo_service("studio")["spec"].get("server", {}), "labels": {"edited": edit}}
    return demo_service("studio", buckets=buckets, replicas=replicas, server=server)


def _under_load(here: Cluster, seconds: int, edit: Callable[[], None]) -> dict[str, Any]:
    """Load that begins before an edit and goes on while the replicas are replaced.

    Raises:
        RuntimeError: the rollout outlasted the load, so that nothing was shown.
    """
    here.start_load("studio", *_LOAD, "--seconds", str(seconds))
    time.sleep(_BEFORE)
    say("the edit")
    edit()
    took = here.ready("studio")
    if took > seconds - _BEFORE:
        raise RuntimeError(f"the rollout took {took:.0f} s, the load ended after {seconds} s")
    result = here.load_result()
    counts = {name: result["summary"][name] for name in ("requests", "completed", "rejections", "errors")}
    return {"loadSeconds": seconds, "rolloutSeconds": round(took, 1), **counts}


def _failed(name: str, must: Must, about: dict[str, Any]) -> Figure:
    return Figure(name, float(about["errors"]), "requests", must, about)


def _downtime(here: Cluster) -> dict[str, Any]:
    """The longest time without an answer, against what the new replica took to load and warm up."""
    load = ("--concurrency", "1", "--size", "128x128", "--steps", "1", "--seconds", str(_DOWNTIME_SECONDS))
    here.start_load("studio", *load)
    time.sleep(_BEFORE)
    here.apply(_restarted([*_TWO, {"width": 96, "height": 160}], 1, "again"))
    here.ready("studio")
    result = here.load_result()
    ends = sorted(item["ended"] for item in result["requests"] if item["images"])
    gap = max(later - earlier for earlier, later in pairwise(ends))
    status = here.get("sdxl", "studio")["status"]["coldStart"]
    start = sum(status.get(name, 0) for name in ("scheduleSeconds", "pullSeconds", "loadSeconds", "warmSeconds"))
    return {"gapSeconds": round(gap, 1), "startSeconds": start, "coldStart": status}
