"""The status of an SDXLTuneBank."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sdxl_operator.naming import Condition, Object, Reason
from sdxl_operator.status.buckets import is_disputed, kept_digests
from sdxl_operator.status.conditions import Finding, conditions
from sdxl_operator.status.usage import Usage
from sdxl_operator.status.work import Standing, Words

WORDS = Words(
    component="compile",
    at_work=Reason.COMPILING,
    failed=Reason.COMPILE_FAILED,
    memory_field="spec.compile.resources.limits.memory of the service",
    deadline_field="spec.compile.tuning.activeDeadlineSeconds of the service",
)

IMPORT_WORDS = Words(
    component="import",
    at_work=Reason.IMPORTING,
    failed=Reason.IMPORT_FAILED,
    memory_field=WORDS.memory_field,
    deadline_field=WORDS.deadline_field,
)

PRESENT = ("Kept", "Dropped")
FINISHED = (*PRESENT, "Missing")


def words(bank: Mapping[str, Any]) -> Words:
    """How the Job that fills a bank is spoken of."""
    return IMPORT_WORDS if (bank.get("spec") or {}).get("from") else WORDS


def finished_keys(status: Mapping[str, Any]) -> set[str]:
    """The buckets that were compiled and measured, or of which it is known that they will not be."""
    return {entry["key"] for entry in status.get("entries") or [] if entry["state"] in FINISHED}


def disputed(status: Mapping[str, Any], users: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The kept entries that replicas could not take, with the reason; `users` are the services' statuses."""
    kept = kept_digests(status)
    return {row["key"]: row["entry"] for user in users for row in user.get("buckets") or [] if is_disputed(row, kept)}


def shortcoming(status: Mapping[str, Any], keys: Collection[str]) -> Finding | None:
    """Why a finished bank does not serve all of these buckets compiled, None where it does as far as is known here."""
    if stale := status.get("stale"):
        return Finding(False, Reason.STALE, str(stale), stalled=True)
    lacks = [entry for entry in status.get("entries") or [] if entry["state"] == "Missing" and entry["key"] in keys]
    if not lacks:
        return None
    names, why = ", ".join(sorted(entry["key"] for entry in lacks)), lacks[0].get("why") or "the artefact lacks them"
    text = f"{names}: {why}; served uncompiled. Export a bank that has them, or leave out tuneBank.from to compile"
    return Finding(False, Reason.MISSING, text, stalled=True)


def entries_from(result: Mapping[str, Any]) -> list[Object]:
    """What the compile Job reported, as entries of status."""
    return [
        {
            "key": item["bucket"],
            **{name: item[name] for name in ("state", "digest", "speedupPercent") if item.get(name) is not None},
            **{name: round(item[name]) for name in ("eagerMilliseconds", "compiledMilliseconds") if item.get(name)},
            **({"why": item["why"]} if item.get("why") else {}),
        }
        for item in result.get("entries") or []
    ]


def without_other_identity(bank: Object, standing: Standing | None) -> Object:
    """The bank without what was measured under another identity: another driver or image made another bank of it."""
    new = (standing.result or standing.found or {}).get("identity") if standing else None
    status = bank.get("status") or {}
    if new is None or status.get("identity") in (None, new):
        return bank
    return {**bank, "status": {name: value for name, value in status.items() if name not in ("entries", "stale")}}


def merged(
    previous: Sequence[Object], new: Iterable[Object], wanted: Iterable[str], at_work: str | None
) -> list[Object]:
    """Entries by key: what was measured last, and Pending or Compiling for what is wanted and not there."""
    entries = {entry["key"]: entry for entry in previous if entry["state"] in FINISHED}
    entries |= {entry["key"]: entry for entry in new}
    for key in wanted:
        entries.setdefault(key, {"key": key, "state": "Compiling" if key == at_work else "Pending"})
    return list(entries.values())


def progress_message(progress: Mapping[str, Any] | None) -> str:
    """A sentence from the Job's own account, empty if it gave none."""
    if progress and progress.get("waitsFor"):
        return f"{progress.get('stage', '')}: waits for {progress['waitsFor']}"
    if not progress or not progress.get("total"):
        return ""
    bucket = (
        f"bucket {progress['index']} of {progress['total']}, {progress['bucket']}" if progress.get("bucket") else ""
    )
    return ": ".join(part for part in (str(progress.get("stage", "")), bucket) if part)


def build(
    bank: Mapping[str, Any],
    standing: Standing | None,
    progress: Mapping[str, Any] | None,
    wanted: Sequence[str],
    usage: Usage,
    claim: str,
    now: datetime,
    again: Mapping[str, str] | None = None,
) -> Object:
    """The status; `standing` is None where every wanted bucket is there, or nobody wants any.

    `again` are the keys of entries that replicas could not take: they stay accepted until they were made again.
    """
    previous = bank.get("status") or {}
    result = (standing.result or standing.found or {}) if standing else {}
    entries = merged(
        previous.get("entries") or [], entries_from(result), wanted, str((progress or {}).get("bucket") or "") or None
    )
    present = sum(entry["state"] in PRESENT for entry in entries)
    status: Object = {"claimName": claim, **usage.to_status(), "entries": entries}
    if stale := result.get("stale") or previous.get("stale"):
        status["stale"] = stale
    missing = sorted(set(wanted) - finished_keys(status) | (again or {}).keys())
    finding = (
        _finding(bank, status, standing, progress, wanted, missing) if wanted else Finding(present > 0, Reason.UNUSED)
    )
    if identity := result.get("identity") or previous.get("identity"):
        status["identity"] = identity
    seconds = standing.seconds if standing and standing.seconds is not None else previous.get("compileSeconds")
    if seconds is not None:
        status["compileSeconds"] = seconds
    if standing is not None and standing.result is None:
        failure = standing.failure or previous.get("lastFailure")
        if failure:
            status |= {"failures": standing.failures, "lastFailure": failure}
    generation = int(bank["metadata"]["generation"])
    found = conditions({Condition.READY: finding}, previous.get("conditions") or [], generation, now)
    return {
        "observedGeneration": generation,
        "conditions": found,
        "summary": f"{present}/{len(entries)}",
        **status,
    }


def _finding(
    bank: Mapping[str, Any],
    status: Mapping[str, Any],
    standing: Standing | None,
    progress: Mapping[str, Any] | None,
    wanted: Sequence[str],
    missing: Sequence[str],
) -> Finding:
    own = words(bank)
    if not missing:
        good = Finding(True, Reason.IMPORTED if own is IMPORT_WORDS else Reason.COMPILED)
        return shortcoming(status, wanted) or good
    if standing is None:
        return Finding(False, own.at_work, f"{', '.join(missing)} to be done")
    if standing.result is not None:
        text = f"the {own.component} Job ended without a word on {', '.join(missing)}"
        return Finding(False, own.failed, text, stalled=True)
    if standing.finding.reason is own.at_work:
        return Finding(False, own.at_work, progress_message(progress) or standing.finding.message)
    return standing.finding
