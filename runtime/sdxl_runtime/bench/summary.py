"""Records → throughput, percentiles, goodput, rejections. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from sdxl_runtime.bench.record import Record


@dataclass(frozen=True, slots=True)
class Spread:
    """Of some seconds: mean, median, and the values that 95 and 99 of 100 do not exceed."""

    mean: float
    p50: float
    p95: float
    p99: float
    largest: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Of one run. Rates are per second of the time from the first request to the last answer."""

    seconds: float
    requests: int
    completed: int
    failed: int
    """Neither pictures nor a rejection."""
    errors: dict[str, int]
    """By the server's code, or what the connection failed with."""
    rejections: dict[str, int]
    """Count by status, 429 and 503."""
    images: int
    images_per_second: float
    evaluations: int
    """As the server counts them; 0 where it does not tell."""
    evaluations_per_second: float
    latency: Spread | None
    """Of the completed ones; None: there are none."""
    queue: Spread | None
    """Seconds in the server's queue, where it tells."""
    first_preview: Spread | None
    rejection_latency: Spread | None
    deadline: float | None
    goodput: float | None
    """Images per second that came within the deadline."""

    def to_json(self) -> dict[str, Any]:
        """Every member; a spread is an object."""
        return asdict(self)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of 100 do not exceed (nearest rank); `ordered` ascends.

    Raises:
        ValueError: there are no values, or percent is not in 0…100.
    """
    if not ordered or not 0 <= percent <= 100:
        raise ValueError(f"percentile {percent} of {len(ordered)} values")
    return ordered[max(0, ceil(percent / 100 * len(ordered)) - 1)]


def spread(values: Iterable[float]) -> Spread | None:
    """None where there are no values."""
    ordered = sorted(values)
    if not ordered:
        return None
    p50, p95, p99 = (percentile(ordered, percent) for percent in (50, 95, 99))
    return Spread(sum(ordered) / len(ordered), p50, p95, p99, ordered[-1])


def summarise(records: Sequence[Record], deadline: float | None = None) -> Summary:
    """Of all records of a run; `deadline` in seconds of latency."""
    done = [record for record in records if record.ok]
    rejected = [record for record in records if record.rejected]
    failed = [record for record in records if not record.ok and not record.rejected]
    seconds = max(r.ended for r in records) - min(r.due for r in records) if records else 0.0
    images, evaluations = sum(record.images for record in done), sum(record.evaluations for record in done)

    def rate(amount: float) -> float:
        return amount / seconds if seconds > 0 else 0.0

    in_time = sum(record.images for record in done if deadline is not None and record.latency <= deadline)
    return Summary(
        seconds=seconds,
        requests=len(records),
        completed=len(done),
        failed=len(failed),
        errors=_counted(record.error or f"status {record.status}" for record in failed),
        rejections=_counted(str(record.status) for record in rejected),
        images=images,
        images_per_second=rate(images),
        evaluations=evaluations,
        evaluations_per_second=rate(evaluations),
        latency=spread(record.latency for record in done),
        queue=spread(record.phases["queue"] for record in done if "queue" in record.phases),
        first_preview=spread(r.first_preview for r in done if r.first_preview is not None),
        rejection_latency=spread(record.latency for record in rejected),
        deadline=deadline,
        goodput=None if deadline is None else rate(in_time),
    )


def _counted(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))
