"""The status of an SDXLTuneBank that has a part for each class of nodes, from the statuses of its parts. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sdxl_operator.naming import Condition, Object, Reason
from sdxl_operator.status.bank import PRESENT, finished_keys, served_uncompiled
from sdxl_operator.status.conditions import Finding, conditions
from sdxl_operator.status.node_class import NodeClass, words
from sdxl_operator.status.pods import condition_of
from sdxl_operator.status.usage import Usage
from sdxl_operator.status.weights import of_child

Part = tuple[NodeClass, Mapping[str, Any]]
"""A class of nodes that is there, and its SDXLTuneBank."""

TOLD_OF_PARTS = ("progress", "placement", "lastFailure", "failures")
"""What a whole says in the words of the part that is at work, or else of the first that has something to say."""


def build(
    bank: Mapping[str, Any],
    present: Sequence[Part],
    parts: Sequence[Mapping[str, Any]],
    wanted: Sequence[str],
    usage: Usage,
    claim: str,
    now: datetime,
) -> Object:
    """The status. `present` are the parts of classes that have nodes now, `parts` all that there ever were."""
    previous = bank.get("status") or {}
    newest = _newest_first(present)
    entries = [_entry(key, [status_of(part) for _, part in newest]) for key in wanted]
    rows = [_row(found, part, wanted) for found, part in present]
    done = sum(entry["state"] in PRESENT for entry in entries)
    status: Object = {
        "claimName": claim,
        **usage.to_status(),
        "entries": entries,
        "nodeClasses": rows,
        "summary": f"{done}/{len(entries)}",
    }
    at_work = [status_of(part) for _, part in present if status_of(part).get("progress")]
    for name in TOLD_OF_PARTS:
        told = [said[name] for said in (*at_work, *(status_of(part) for _, part in present)) if said.get(name)]
        if told:
            status[name] = told[0]
    if seconds := [said["compileSeconds"] for _, part in present if (said := status_of(part)).get("compileSeconds")]:
        status["compileSeconds"] = max(seconds)
    if identity := next((said["identity"] for _, part in newest if (said := status_of(part)).get("identity")), None):
        status["identity"] = identity
    generation = int(bank["metadata"]["generation"])
    finding = _finding(bank, present, parts, wanted, status) if wanted else Finding(done > 0, Reason.UNUSED)
    found = conditions({Condition.READY: finding}, previous.get("conditions") or [], generation, now)
    return {"observedGeneration": generation, "conditions": found, **status}


def status_of(bank: Mapping[str, Any]) -> Mapping[str, Any]:
    """A bank's status, empty where nobody has looked at it yet."""
    return bank.get("status") or {}


def row_of(whole: Mapping[str, Any], part: str) -> Object | None:
    """What a whole says of the part of this name: None where no node needs it."""
    rows = status_of(whole).get("nodeClasses") or []
    return next((row for row in rows if row["bank"] == part), None)


def whose_turn(whole: Mapping[str, Any]) -> str:
    """The part that may write: one Job after the other, since all write to one volume; what fails holds up nobody."""
    rows = status_of(whole).get("nodeClasses") or []
    waiting = [row["bank"] for row in rows if row["state"] == "Pending"]
    return next(iter(waiting), "")


def complaints(whole: Mapping[str, Any], users: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Buckets of which replicas say that no part was made for what they run on, with the reason; `users` as statuses.

    Their nodes' labels do not tell, so each part looks again. A replica speaks of the newest part that it knows of: one
    that speaks of another has yet to see what was accepted since.
    """
    entries = status_of(whole).get("entries") or []
    newest = {entry["key"]: entry.get("digest") for entry in entries if entry["state"] == "Kept"}
    if len(newest) < len(entries):
        return {}
    return {
        row["key"]: row["entry"]
        for user in users
        for row in user.get("buckets") or []
        if row.get("entry") == Reason.STALE.value and row.get("digest") and newest.get(row["key"]) == row["digest"]
    }


def _newest_first(present: Sequence[Part]) -> list[Part]:
    """Of the parts that are finished the newest leads: what replicas say of it they cannot have known before."""
    return sorted(present, key=lambda item: str(item[1]["metadata"].get("creationTimestamp") or ""), reverse=True)


def _entry(key: str, statuses: Sequence[Mapping[str, Any]]) -> Object:
    """A bucket over all classes: as far as the class that is least far; measurements are those of the newest part."""
    found = [next((e for e in said.get("entries") or [] if e["key"] == key), None) for said in statuses]
    unfinished = [
        entry["state"] if entry else "Pending" for entry in found if not entry or entry["state"] not in PRESENT
    ]
    if unfinished:
        return {"key": key, "state": "Compiling" if "Compiling" in unfinished else "Pending"}
    entries = [entry for entry in found if entry is not None]
    kept = [entry for entry in entries if entry["state"] == "Kept"]
    if not kept:
        return dict(entries[0])
    others = list(dict.fromkeys(e["digest"] for e in kept if e.get("digest") not in (None, kept[0].get("digest"))))
    return {**kept[0], **({"otherDigests": others} if others else {})}


def _row(found: NodeClass, part: Mapping[str, Any], wanted: Sequence[str]) -> Object:
    said = status_of(part)
    done = set(wanted) <= finished_keys(said)
    row: Object = {
        "bank": part["metadata"]["name"],
        "nodeClass": dict(found.labels),
        "nodes": len(found.nodes),
        "state": "Ready" if done else "Failing" if said.get("failures") else "Pending",
    }
    return {**row, **({"summary": said["summary"]} if said.get("summary") else {})}


def _finding(
    bank: Mapping[str, Any],
    present: Sequence[Part],
    parts: Sequence[Mapping[str, Any]],
    wanted: Sequence[str],
    status: Mapping[str, Any],
) -> Finding:
    unfinished = [(found, part) for found, part in present if not set(wanted) <= finished_keys(status_of(part))]
    if not unfinished:
        dropped = served_uncompiled(status, wanted)
        several = f"{len(present)} classes of nodes have their own" if len(present) > 1 else ""
        return Finding(True, Reason.COMPILED, "; ".join(text for text in (several, dropped) if text))
    turn = whose_turn({"status": status})
    found, part = next((item for item in unfinished if item[1]["metadata"]["name"] == turn), unfinished[0])
    own = of_child(part, Finding(False, Reason.COMPILING, "it is about to be looked at"))
    reason, count = own.reason if not own.holds else Reason.COMPILING, len(found.nodes)
    text = f"{count} node{'s' if count > 1 else ''} with {words(found.labels)}: {own.sentence}"
    if reason is Reason.COMPILING and _served_before(bank, wanted, parts):
        reason = Reason.STALE
        text = f"made for other nodes than the {text}"
    return Finding(False, reason, text, stalled=own.stalled)


def _served_before(bank: Mapping[str, Any], wanted: Sequence[str], parts: Sequence[Mapping[str, Any]]) -> bool:
    """Whether replicas ran with this bank before a class came that it lacks."""
    before = condition_of(bank, Condition.READY.value)
    if before.get("status") != "True" and before.get("reason") != Reason.STALE.value:
        return False
    return any(set(wanted) <= finished_keys(status_of(part)) for part in parts)
