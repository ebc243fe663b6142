"""What an edit would take, from what was measured before; None where nothing was. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from sdxl_operator.api.service import ServiceSpec
from sdxl_operator.kubectl.text import duration
from sdxl_operator.naming import Object
from sdxl_operator.status.history import estimate, named

START_PHASES = ("scheduleSeconds", "pullSeconds", "loadSeconds", "warmSeconds")
"""What a replica's start consists of; compiling is the Job's, and over by then."""

UNKNOWN = "unknown: it was never measured"


def compiling(keys: Sequence[str], banks: Sequence[Object]) -> str:
    """How long these buckets take by what was measured, and by what that was; the earlier banks count first."""
    found = estimate(keys, banks)
    if found is None:
        return "unknown: no bucket was measured on this accelerator yet"
    told = (
        f"measured before: {named(found.measured)}" if found.measured else "",
        f"by pixels and batch from {named(found.similar)}" if found.similar else "",
    )
    return f"about {duration(found.seconds)}, {'; '.join(filter(None, told))}"


def replacing(spec: ServiceSpec, status: Mapping[str, Any]) -> str:
    """How long it takes to replace all replicas, by the latest start of one; draining comes on top of it."""
    cold_start = status.get("coldStart") or {}
    if "loadSeconds" not in cold_start:
        return f"{UNKNOWN}, and up to {duration(spec.rollout.drain_timeout_seconds)} for each to finish its work"
    each = sum(int(cold_start.get(phase) or 0) for phase in START_PHASES)
    rounds = -(-spec.replicas // spec.rollout.max_unavailable)
    text = f"about {duration(rounds * each)}: the latest start of one took {duration(each)}"
    return f"{text}, and up to {duration(spec.rollout.drain_timeout_seconds)} for each to finish its work"
