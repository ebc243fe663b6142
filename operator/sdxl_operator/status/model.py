"""The status of an SDXLModel."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sdxl_operator.naming import Condition, Object, Reason
from sdxl_operator.status import progress as fetching
from sdxl_operator.status.conditions import Finding, conditions
from sdxl_operator.status.usage import Usage
from sdxl_operator.status.work import Standing, Words

WORDS = Words(
    component="fetch",
    at_work=Reason.FETCHING,
    failed=Reason.FETCH_FAILED,
    memory_field="the memory of the fetch Job",
    deadline_field="the fetch Job's deadline",
)

MEASURED = ("digest", "bytes", "files", "sizeMultiple", "rank")


def is_present(status: Mapping[str, Any]) -> bool:
    """Whether the files were fetched and measured."""
    return bool(status.get("digest"))


def unused() -> Finding:
    """The finding about files that nobody wants fetched."""
    return Finding(False, Reason.UNUSED, stalled=True)


def build(
    model: Mapping[str, Any],
    standing: Standing | None,
    usage: Usage,
    claim: str,
    now: datetime,
    progress: Mapping[str, Any] | None = None,
) -> Object:
    """The status; `standing` is None once the files are present and no Job is needed.

    `progress` is what the Job's `/progress` said, None if it did not answer.
    """
    previous = model.get("status") or {}
    measured = {name: previous[name] for name in MEASURED if name in previous}
    status: Object = {"claimName": claim, **usage.to_status()}
    if standing is None or standing.result is not None:
        result = standing.result if standing and standing.result else {}
        measured |= {name: result[name] for name in MEASURED if name in result}
        finding = Finding(True, Reason.MODEL_PRESENT, f"{measured.get('files')} files, {measured.get('bytes')} bytes")
    else:
        finding = standing.finding
        if finding.reason is Reason.FETCHING and not finding.stalled:
            sample = fetching.sample(previous, progress, now)
            finding = Finding(False, Reason.FETCHING, fetching.sentence(sample) or finding.message)
            status |= sample
        failure = standing.failure or previous.get("lastFailure")
        if failure:
            status |= {"failures": standing.failures, "lastFailure": failure}
    generation = int(model["metadata"]["generation"])
    found = conditions({Condition.READY: finding}, previous.get("conditions") or [], generation, now)
    return {"observedGeneration": generation, "conditions": found, **measured, **status}
