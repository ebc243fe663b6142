"""Status lines of a service as they change, until it is ready."""

from __future__ import annotations

import time
from typing import Any

from dev.demo.kubectl import Kubectl
from dev.shell import Failed, say

LOOK_SECONDS = 1.0


def follow_until_ready(kubectl: Kubectl, namespace: str, name: str, seconds: float) -> dict[str, Any]:
    """Print why a service is not ready whenever that changes; return it once it is.

    Raises:
        Failed: it is not ready in time; the message is its last reason.
    """
    began, last = time.monotonic(), ""
    while time.monotonic() - began < seconds:
        service = kubectl.get("-n", namespace, "sdxlservice", name)
        line = status_line(service)
        if line != last:
            say(f"    {time.monotonic() - began:6.1f} s  {line}")
            last = line
        if is_ready(service):
            return service
        time.sleep(LOOK_SECONDS)
    raise Failed(f"SDXLService {name} is not ready after {seconds:.0f} s: {last}")


def condition(service: dict[str, Any], kind: str = "Ready") -> dict[str, Any]:
    """A condition by its type, empty if it is not there."""
    found = service.get("status", {}).get("conditions") or []
    return next((item for item in found if item["type"] == kind), {})


def is_ready(service: dict[str, Any]) -> bool:
    """Whether the current generation is ready."""
    ready = condition(service)
    return bool(
        ready.get("status") == "True" and ready.get("observedGeneration") == service["metadata"].get("generation")
    )


def status_line(service: dict[str, Any]) -> str:
    """One line: buckets, replicas, the reason and its sentence."""
    status, ready = service.get("status", {}), condition(service)
    counts = f"buckets {status.get('bucketSummary', '-')}  replicas {status.get('readyReplicas', 0)}"
    return f"{counts}  {ready.get('reason', 'Waiting')}: {ready.get('message', 'the operator has not seen it yet')}"
