"""How far a fetch Job is, as status tells it: rounded, and a new number only after a while, so that it is quiet."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sdxl_operator.naming import Object
from sdxl_operator.status.conditions import parse_time, timestamp

EVERY = timedelta(seconds=30)
"""A sample stays for this long, whatever the Job says in between."""

MEMBERS = ("progress", "bytesDone", "totalBytes", "bytesPerSecond", "etaSeconds", "waitsFor", "progressTime")


def sample(previous: Mapping[str, Any], progress: Mapping[str, Any] | None, now: datetime) -> Object:
    """The members of status: the last ones while they are fresh, or while the Job does not answer; else new ones.

    What the last ones lack and matters is told at once: for whom the Job waits, and how long it will take.
    """
    last = {name: previous[name] for name in MEMBERS if name in previous}
    if progress is None:
        return last
    fresh = "progressTime" in last and now - parse_time(last["progressTime"]) < EVERY
    found = _numbers(progress)
    if waits_for := str(progress.get("waitsFor") or "")[:1024]:
        found = {"progress": str(progress.get("stage")), **found, "waitsFor": waits_for}
    if fresh and not any(name in found and name not in last for name in ("waitsFor", "etaSeconds")):
        return last
    if not found:
        return {}
    found["progressTime"] = timestamp(now)
    return last if {**found, "progressTime": last.get("progressTime")} == last else found


def _numbers(progress: Mapping[str, Any]) -> Object:
    """How far it is; empty where it does not count."""
    total, done = whole(progress, "totalBytes"), whole(progress, "bytes")
    if total <= 0:
        return {}
    found: Object = {
        "progress": f"{progress.get('stage')} {min(100 * done // total, 100)}%",
        "bytesDone": rounded(min(done, total), 3),
        "totalBytes": total,
        "bytesPerSecond": rounded(whole(progress, "bytesPerSecond"), 2),
    }
    if progress.get("etaSeconds") is not None:
        found["etaSeconds"] = rounded(whole(progress, "etaSeconds"), 2)
    return found


def sentence(found: Mapping[str, Any]) -> str:
    """A sample as a message; empty if there is none."""
    if not found:
        return ""
    parts = [found["progress"]]
    if "totalBytes" in found:
        left = f", about {found['etaSeconds']} s left" if "etaSeconds" in found else ""
        parts = [f"{found['progress']} of {_size(found['totalBytes'])}, {_size(found['bytesPerSecond'])}/s{left}"]
    if "waitsFor" in found:
        parts.append(f"waits for {found['waitsFor']}")
    return "; ".join(parts)


def whole(progress: Mapping[str, Any], name: str) -> int:
    """A number that a Job says, 0 where it is none."""
    value = progress.get(name)
    return max(round(value), 0) if isinstance(value, int | float) else 0


def rounded(number: int, digits: int) -> int:
    """A number with so many significant digits, not more than it was: status is quiet by that."""
    unit = max(10 ** (len(str(number)) - digits), 1) if len(str(number)) > digits else 1
    return int(number // unit * unit)


def _size(count: float) -> str:
    """Bytes as people read them, in decimal units."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB" if count < 999.5 else f"{count:.0f} GB"
