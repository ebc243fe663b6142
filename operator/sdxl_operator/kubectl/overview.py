"""How a service stands, on one screen. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sdxl_operator import naming
from sdxl_operator.kubectl.text import Style, duration, facts, since, table
from sdxl_operator.naming import Object
from sdxl_operator.status.pods import condition_of

COLD_START = ("schedule", "pull", "load", "compile", "warm")


def overview(service: Mapping[str, Any], bank: Object | None, style: Style, now: datetime) -> list[str]:
    """The lines: what it waits for first, then what it has, its buckets, and all conditions."""
    metadata, status = service["metadata"], service.get("status") or {}
    title = style.bold(f"{metadata['namespace']}/{metadata['name']}")
    ready = condition_of(service, "Ready")
    if not ready:
        return [title, "No operator has looked at it yet."]
    return [
        f"{title}  {status.get('url') or ''}".rstrip(),
        f"{style.ready(service, ready['reason'])}: {ready['message']}",
        *_unseen(service),
        "",
        *facts(_facts(service, bank, now)),
        "",
        *_buckets(status, style),
        "",
        *_conditions(status, style, now),
    ]


def _unseen(service: Mapping[str, Any]) -> list[str]:
    generation = int(service["metadata"].get("generation") or 0)
    seen = int((service.get("status") or {}).get("observedGeneration") or 0)
    if seen >= generation:
        return []
    return [f"All this is about generation {seen} of the spec; generation {generation} is not carried out yet."]


def _facts(service: Mapping[str, Any], bank: Object | None, now: datetime) -> Iterator[tuple[str, str]]:
    status = service.get("status") or {}
    wanted = 0 if service["spec"].get("suspend") else service["spec"].get("replicas", 1)
    yield "Replicas", f"{status.get('readyReplicas', 0)} of {wanted} ready, {status.get('replicas', 0)} there"
    yield from (("Model" if use.role == "model" else use.words[4:], use.name) for use in naming.model_uses(status))
    yield "Bank", _bank(status, bank)
    yield "Revision", _revision(status.get("revision") or {})
    rollout = status.get("rollout") or {}
    yield "Rollout", f"{rollout['impact']}: {', '.join(rollout.get('fields') or [])}" if rollout else ""
    spent = status.get("coldStart") or {}
    phases = [(name, spent[f"{name}Seconds"]) for name in COLD_START if f"{name}Seconds" in spent]
    yield "Cold start", ", ".join(f"{name} {duration(seconds)}" for name, seconds in phases)
    yield "Last failure", _failure(status.get("lastFailure") or {}, now)


def _bank(status: Mapping[str, Any], bank: Object | None) -> str:
    name = status.get("bank")
    if not name:
        return "none: nothing is compiled"
    known = (bank or {}).get("status") or {}
    summary, seconds = known.get("summary"), known.get("compileSeconds")
    told = (
        f"{summary} buckets" if summary else "",
        "" if seconds is None else f"the last compile Job took {duration(seconds)}",
    )
    return ", ".join([name, *filter(None, told)])


def _revision(revision: Mapping[str, Any]) -> str:
    current, updated = revision.get("current"), revision.get("updated")
    if updated and updated != current:
        return f"{current or 'none'}, to be replaced by {updated}"
    return str(current or "")


def _failure(failure: Mapping[str, Any], now: datetime) -> str:
    if not failure:
        return ""
    code = f", exit code {failure['exitCode']}" if "exitCode" in failure else ""
    ago = since(str(failure.get("time") or ""), now)
    return f"{failure['reason']} ({failure['component']}{code}, {ago} ago): {failure['message']}"


def _buckets(status: Mapping[str, Any], style: Style) -> list[str]:
    head = ("BUCKET", "STATE", "BACKEND", "MS/STEP", "SPEED-UP", "WHY")
    paint = {"Ready": style.good, "Failed": style.bad}
    return table(
        head,
        (
            (
                row["key"],
                paint.get(row["state"], style.waits)(row["state"]),
                row.get("backend"),
                row.get("millisecondsPerStep"),
                f"{row['speedupPercent'] / 100:.2f}x" if row.get("speedupPercent") else None,
                row.get("why"),
            )
            for row in status.get("buckets") or []
        ),
    )


def _conditions(status: Mapping[str, Any], style: Style, now: datetime) -> list[str]:
    head = ("CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE")
    rows = (
        (
            item["type"],
            style.bad(item["status"]) if item["type"] == "Stalled" else item["status"],
            item["reason"],
            since(item["lastTransitionTime"], now),
            item["message"],
        )
        for item in status.get("conditions") or []
    )
    return table(head, rows)
