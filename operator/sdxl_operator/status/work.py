"""How a Job stands: the one place where fetch and compile Jobs are judged, since they fail in the same ways."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sdxl_operator.naming import Object, Reason
from sdxl_operator.status.conditions import Finding, parse_time, timestamp
from sdxl_operator.status.pods import Observed, condition_of, ending, init_result, seconds_between, waiting

MAXIMUM_PAUSE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Words:
    """How a kind of Job is spoken of."""

    component: str
    at_work: Reason
    failed: Reason
    memory_field: str
    deadline_field: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How a Job stands, and what to do about it."""

    finding: Finding
    result: Object | None = None
    """What it left when it succeeded."""
    failure: Object | None = None
    """For status.lastFailure, when it failed."""
    failures: int = 0
    """Failures in a row, this one included."""
    retry_at: datetime | None = None
    """When a failed Job is deleted, so that the next one starts."""
    seconds: int | None = None
    """How long it ran."""
    found: Object | None = None
    """What is known of the result before all of it is."""


def standing(
    job: Object | None, observed: Observed, previous: Mapping[str, Any], words: Words, now: datetime
) -> Standing:
    """Judge a Job by its conditions and its pods; `previous` is the owner's status, which counts failures."""
    failures = int(previous.get("failures") or 0)
    if job is None:
        return Standing(
            Finding(False, words.at_work, f"the {words.component} Job is about to start"), failures=failures
        )
    if condition_of(job, "Complete").get("status") == "True":
        return _succeeded(job, observed, words)
    failed = condition_of(job, "Failed") or condition_of(job, "FailureTarget")
    if failed.get("status") == "True":
        return _failed(failed, observed, previous, words)
    wait = waiting(observed, words.memory_field)
    name = job["metadata"]["name"]
    return Standing(wait or Finding(False, words.at_work, f"Job {name} is at work"), failures=failures)


def in_pods(pods: Observed, wanted: set[str], previous: Mapping[str, Any], words: Words) -> Standing:
    """Judge work that replicas do in an init container: what those that ended say, and what the newest waits for."""
    results = [result for result in map(init_result, pods.pods) if result.get("entries")]
    entries = {entry["bucket"]: entry for result in results for entry in result["entries"]}
    found = {"identity": results[-1]["identity"], "entries": list(entries.values())} if results else None
    if wanted <= entries.keys():
        return Standing(Finding(True, words.at_work), result=found)
    end = next(filter(None, (ending(pod, words.failed, words.memory_field) for pod in reversed(pods.pods))), None)
    if end is not None and end.exit_code != 0:
        failure: Object = {"reason": end.reason.value, "message": end.message[:1024], "component": words.component}
        failure |= {"exitCode": end.exit_code, "time": end.time}
        known = (previous.get("lastFailure") or {}).get("time") == end.time
        failures = int(previous.get("failures") or 0) + (0 if known else 1)
        finding = Finding(False, end.reason, f"{end.message}; the kubelet starts it again", stalled=True)
        return Standing(finding, failure=failure, failures=failures, found=found)
    idle = Finding(False, words.at_work, "replicas compile before they serve")
    return Standing(waiting(pods, words.memory_field) or idle, found=found)


def _succeeded(job: Mapping[str, Any], observed: Observed, words: Words) -> Standing:
    status = job["status"]
    for pod in reversed(observed.pods):
        end = ending(pod, words.failed, words.memory_field)
        if end is not None and end.exit_code == 0 and end.result:
            seconds = seconds_between(status.get("startTime"), status.get("completionTime"))
            return Standing(Finding(True, words.at_work), result=end.result, seconds=seconds)
    # The pod went before its message was read: what it did is on the volume, so a second run costs next to nothing.
    text = f"Job {job['metadata']['name']} ended, but its pod and with it the result is gone; it runs once more"
    return Standing(Finding(False, words.failed, text), retry_at=parse_time(job["metadata"]["creationTimestamp"]))


def _failed(failed: Mapping[str, Any], observed: Observed, previous: Mapping[str, Any], words: Words) -> Standing:
    endings = (ending(pod, words.failed, words.memory_field) for pod in reversed(observed.pods))
    end = next((item for item in endings if item is not None), None)
    time = str(failed.get("lastTransitionTime") or (end.time if end else ""))
    reason, message = words.failed, str(failed.get("message", ""))
    if failed.get("reason") == "DeadlineExceeded":
        reason, message = Reason.DEADLINE_EXCEEDED, f"{message}: raise {words.deadline_field}"
    elif end is not None:
        reason, message = end.reason, end.message
    known = (previous.get("lastFailure") or {}).get("time") == time
    failures = int(previous.get("failures") or 0) + (0 if known else 1)
    retry_at = parse_time(time) + timedelta(seconds=pause_seconds(failures))
    failure: Object = {"reason": reason.value, "message": message[:1024], "component": words.component, "time": time}
    if end is not None:
        failure["exitCode"] = end.exit_code
    text = f"{message}; tried {failures} time{'s' if failures > 1 else ''}, again at {timestamp(retry_at)}"
    return Standing(Finding(False, reason, text, stalled=True), failure=failure, failures=failures, retry_at=retry_at)


def pause_seconds(failures: int) -> int:
    """The pause before the next try after so many failures in a row: 15 s, doubled each time, ten minutes at most."""
    return int(min(15 * 2 ** max(failures - 1, 0), MAXIMUM_PAUSE_SECONDS))
