"""The table of buckets in a service's status, and what the latest cold start cost."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sdxl_operator.naming import Object
from sdxl_operator.status.pods import condition_of, container_statuses, seconds_between

LOADED = "Loaded"
"""What the runtime says of an entry that it runs a bucket with."""

STATES = {
    "Kept": "Compiled",
    "Dropped": "Compiled",
    "Compiling": "Compiling",
    "Pending": "Pending",
    "Missing": "Pending",  # until a replica serves it uncompiled
}


def bucket_rows(
    keys: Sequence[str],
    bank: Mapping[str, Any] | None,
    pods: Sequence[Object],
    readiness: Mapping[str, Object],
    previous: Mapping[str, Any],
) -> list[Object]:
    """One row for each declared bucket: as the oldest of the pods serves it, else how far the bank has got."""
    entries = {entry["key"]: entry for entry in ((bank or {}).get("status") or {}).get("entries") or []}
    tables = [readiness[pod["metadata"]["name"]] for pod in pods if pod["metadata"]["name"] in readiness]
    rows = {row["key"]: row for row in (tables[0].get("buckets") if tables else None) or []}
    before = {row["key"]: row for row in previous.get("buckets") or []}
    troubled = {dispute.key: dispute for dispute in disputes(bank, readiness)}
    found = [_row(key, entries.get(key), rows.get(key), before.get(key)) for key in keys]
    return [{**row, **troubled[row["key"]].members} if row["key"] in troubled else row for row in found]


@dataclass(frozen=True, slots=True)
class Dispute:
    """A replica that could not take an entry which the bank says it has."""

    pod: str
    key: str
    reason: str
    """Missing, Stale or Corrupt."""
    why: str
    digest: str

    @property
    def members(self) -> Object:
        """Of the bucket's row."""
        return {"entry": self.reason, "digest": self.digest, "why": self.why}


def disputes(bank: Mapping[str, Any] | None, readiness: Mapping[str, Object]) -> list[Dispute]:
    """The replicas' complaints about entries that the bank lists as kept, by pod and bucket.

    A replica that speaks of another digest has yet to see what was accepted since.
    """
    kept = kept_digests((bank or {}).get("status") or {})
    return [
        Dispute(pod, row["key"], row["entry"], str(row.get("why") or ""), row["digest"])
        for pod, answer in sorted(readiness.items())
        for row in answer.get("buckets") or []
        if is_disputed(row, kept)
    ]


def kept_digests(status: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """The digests of each entry that a bank's status lists as kept, by bucket: one for each class of nodes."""
    return {
        entry["key"]: frozenset([entry.get("digest") or "", *(entry.get("otherDigests") or [])])
        for entry in status.get("entries") or []
        if entry["state"] == "Kept"
    }


def is_disputed(row: Mapping[str, Any], kept: Mapping[str, Collection[str]]) -> bool:
    """Whether a bucket's row, of a replica or of a service's status, says that this very entry was not taken."""
    troubled = row.get("entry") not in (None, "", LOADED)
    return troubled and bool(row.get("digest")) and row["digest"] in kept.get(row["key"], ())


def _row(
    key: str, entry: Mapping[str, Any] | None, served: Mapping[str, Any] | None, before: Mapping[str, Any] | None
) -> Object:
    row: Object = {"key": key, "state": STATES[entry["state"]] if entry else "Pending"}
    if served is not None and served.get("state") in ("Warming", "Ready"):
        row |= {"state": served["state"], "backend": served.get("backend")}
        row["why"] = served.get("why") or None
        row["millisecondsPerStep"] = _steady(served.get("millisecondsPerStep"), before)
        if entry and entry["state"] == "Kept":
            row |= {"entry": served.get("entry"), "digest": served.get("digest")}
    elif entry and entry["state"] in ("Dropped", "Missing"):
        row["why"] = entry.get("why")
    if entry and entry["state"] == "Kept":
        row["speedupPercent"] = entry.get("speedupPercent")
    return {name: value for name, value in row.items() if value is not None}


def _steady(milliseconds: float | None, before: Mapping[str, Any] | None) -> int | None:
    """Whole milliseconds; the last value stays while the new one is within a tenth, so that status keeps quiet."""
    if milliseconds is None:
        return None
    last = (before or {}).get("millisecondsPerStep")
    if last is not None and abs(last - milliseconds) <= max(1.0, last / 10):
        return int(last)
    return max(round(milliseconds), 1)


def cold_start(
    ready_pods: Sequence[Object], readiness: Mapping[str, Object], bank: Mapping[str, Any] | None
) -> Object | None:
    """The phases of the youngest ready replica's start, whole seconds; None where no replica answers."""
    asked = [pod for pod in ready_pods if pod["metadata"]["name"] in readiness]
    if not asked:
        return None
    pod = asked[-1]
    seconds = readiness[pod["metadata"]["name"]].get("seconds") or {}
    scheduled = condition_of(pod, "PodScheduled").get("lastTransitionTime")
    running = [
        status["state"]["running"]["startedAt"] for status in container_statuses(pod) if "running" in status["state"]
    ]
    phases: Object = {
        "scheduleSeconds": seconds_between(pod["metadata"]["creationTimestamp"], scheduled),
        "pullSeconds": seconds_between(scheduled, running[0] if running else None),
        "loadSeconds": _whole(seconds.get("load")),
        "compileSeconds": ((bank or {}).get("status") or {}).get("compileSeconds"),
        "warmSeconds": _whole(seconds.get("warm")),
    }
    return {name: value for name, value in phases.items() if value is not None}


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)
