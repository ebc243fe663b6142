"""Edits of a service with two replicas under load: accepted requests that fail."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.banking.cluster import Cluster, cluster, demo_service, labelled
from benchmarks.context import Context, say
from benchmarks.figures import Figure, Must

NAMES = (
    "rollout under load, restart: failed accepted requests",
    "rollout under load, recompile: failed accepted requests",
)
_MUST = Must("==", 0)
_ONE = [{"width": 128, "height": 128}]
_TWO = [*_ONE, {"width": 160, "height": 96}]
_LOAD = ("--concurrency", "2", "--size", "128x128", "--steps", "8", "--timeout", "300")
_AROUND_SECONDS = 10
"""The load goes on for so long before the edit and after it."""


def measure(context: Context) -> Iterator[Figure]:
    """With the demo model on CPUs; each replica is taken down before its replacement starts."""
    with cluster() as here:
        here.apply(demo_service("studio", buckets=_ONE, replicas=2))
        here.ready("studio")
        restart = _under_load(here, lambda: here.apply(labelled("studio", "yes", buckets=_ONE, replicas=2)))
        yield failures(NAMES[0], restart)
        recompile = _under_load(here, lambda: here.apply(labelled("studio", "yes", buckets=_TWO, replicas=2)))
        yield failures(NAMES[1], recompile)


def _under_load(here: Cluster, edit: Callable[[], None]) -> dict[str, Any]:
    """What clients met who never paused, from before an edit until after its rollout."""
    load = here.load("studio", *_LOAD)
    time.sleep(_AROUND_SECONDS)
    before = {pod["metadata"]["uid"] for pod in here.replicas("studio")}
    say("the edit")
    edit()
    took = here.ready("studio")
    time.sleep(_AROUND_SECONDS)
    summary = load.end()["summary"]
    stayed = before & {pod["metadata"]["uid"] for pod in here.replicas("studio")}
    if stayed:
        raise RuntimeError(f"{len(stayed)} of {len(before)} replicas were not replaced, so nothing was shown")
    counts = {name: summary[name] for name in ("requests", "completed", "failed", "errors", "rejections")}
    return {"rolloutSeconds": round(took, 1), **counts, "latency": summary["latency"]}


def failures(name: str, about: dict[str, Any]) -> Figure:
    """Requests with neither a picture nor a rejection; rejections, which were never accepted, are told beside them.

    Raises:
        RuntimeError: no picture came at all.
    """
    if not about["completed"]:
        raise RuntimeError(f"{name}: none of {about['requests']} requests got a picture: {about['errors']}")
    return Figure(name, float(about["failed"]), "requests", _MUST, about)
