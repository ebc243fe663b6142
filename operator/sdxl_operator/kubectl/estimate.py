"""What an edit would take, from what was measured before; None where nothing was. Pure."""

from collections.abc import Mapping
from typing import Any

from sdxl_operator.api.service import ServiceSpec
from sdxl_operator.kubectl.text import duration
from sdxl_operator.status.bank import finished_keys

START_PHASES = ("scheduleSeconds", "pullSeconds", "loadSeconds", "warmSeconds")
"""What a replica's start consists of; compiling is the Job's, and over by then."""

UNKNOWN = "not measured"


def compiling(count: int, *banks: Mapping[str, Any] | None) -> str:
    """How long so many buckets take, by the first of these banks that has measured any."""
    for bank in banks:
        status = (bank or {}).get("status") or {}
        seconds, known = status.get("compileSeconds"), len(finished_keys(status))
        if bank is not None and seconds is not None and known:
            total = duration(seconds * count / known)
            return f"about {total}: bank {bank['metadata']['name']} took {duration(seconds)} for {known}"
    return UNKNOWN


def replacing(spec: ServiceSpec, status: Mapping[str, Any]) -> str:
    """How long it takes to replace all replicas, by the latest start of one; draining comes on top of it."""
    cold_start = status.get("coldStart") or {}
    if "loadSeconds" not in cold_start:
        return f"{UNKNOWN}, and up to {duration(spec.rollout.drain_timeout_seconds)} for each to finish its work"
    each = sum(int(cold_start.get(phase) or 0) for phase in START_PHASES)
    rounds = -(-spec.replicas // spec.rollout.max_unavailable)
    text = f"about {duration(rounds * each)}: the latest start of one took {duration(each)}"
    return f"{text}, and up to {duration(spec.rollout.drain_timeout_seconds)} for each to finish its work"
