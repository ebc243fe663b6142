"""A run as a table for people and as JSON for programs."""

from collections.abc import Mapping, Sequence
from typing import Any

from sdxl_runtime.bench.record import Record
from sdxl_runtime.bench.summary import Spread, Summary


def table(summary: Summary, energy: Mapping[str, float]) -> str:
    """Lines of `name  value`; what is not known is not there."""
    rows = [
        ("requests", f"{summary.requests} in {summary.seconds:.1f} s"),
        ("completed", f"{summary.completed}, {summary.images} images"),
        *([("rejected", _counts(summary.rejections))] if summary.rejections else []),
        *([("failed", _counts(summary.errors))] if summary.failed else []),
        ("throughput", f"{summary.images_per_second:.3f} images/s"),
    ]
    if summary.evaluations:
        rows.append(("", f"{summary.evaluations_per_second:.2f} evaluations/s"))
    if summary.goodput is not None:
        rows.append(("goodput", f"{summary.goodput:.3f} images/s within {summary.deadline:g} s"))
    rows += _spreads(summary)
    for name, joules in energy.items():
        per_image = f", {joules / summary.images:.1f} J per image" if summary.images else ""
        rows.append(("energy", f"{joules:.0f} J{per_image} ({name})"))
    return "\n".join(f"{name:16} {value}" for name, value in rows)


def to_json(
    arguments: Mapping[str, Any], started: str, summary: Summary, energy: Mapping[str, float], records: Sequence[Record]
) -> dict[str, Any]:
    """Everything: what was asked for, when (ISO 8601), what came of it, and each request."""
    return {
        "arguments": dict(arguments),
        "started": started,
        "summary": summary.to_json(),
        "joules": dict(energy),
        "requests": [record.to_json() for record in records],
    }


def _spreads(summary: Summary) -> list[tuple[str, str]]:
    named = (
        ("latency", summary.latency),
        ("queue", summary.queue),
        ("first preview", summary.first_preview),
        ("rejection", summary.rejection_latency),
    )
    return [(name, _spread(values)) for name, values in named if values is not None]


def _spread(values: Spread) -> str:
    return (
        f"mean {values.mean:.3f}  p50 {values.p50:.3f}  p95 {values.p95:.3f}  "
        f"p99 {values.p99:.3f}  max {values.largest:.3f} s"
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} × {name}" for name, count in counts.items())
