"""The status of an SDXLService: ordered checks over what was observed; the first that fails explains `Ready`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sdxl_operator.api.service import ServiceSpec
from sdxl_operator.naming import REVISION_LABEL, Condition, Object, Reason
from sdxl_operator.status.bank import IMPORT_WORDS, finished_keys, served_uncompiled, shortcoming, words
from sdxl_operator.status.buckets import bucket_rows, cold_start, disputes
from sdxl_operator.status.conditions import Finding, conditions, first_failing
from sdxl_operator.status.pods import Observed, condition_of, ending, is_ready, is_running, waiting
from sdxl_operator.status.weights import UsedModel, members, of_child, of_models

MEMORY_FIELD = "spec.server.resources.limits.memory"


@dataclass(frozen=True, slots=True)
class View:
    """All that one pass saw of a service."""

    spec: ServiceSpec
    bucket_keys: tuple[str, ...]
    accepted: Finding
    url: str = ""
    selector: str = ""
    models: tuple[UsedModel, ...] = ()
    """The model first, then its refiner and the adapters."""
    bank_name: str | None = None
    bank: Object | None = None
    current_revision: str | None = None
    updated_revision: str | None = None
    update: str = ""
    """What this operator and profile would make of the pods other than the stored revision has; empty if nothing."""
    rollout: Object | None = None
    """The edit between the current revision and the one that is wanted, as status has it."""
    paused: Finding | None = None
    """That nothing is applied, and whether an edit waits because of it."""
    deployment: Object | None = None
    observed: Observed = field(default_factory=Observed)
    readiness: Mapping[str, Object] = field(default_factory=dict)
    """Pod name → what its /readyz says."""
    trouble: Finding | None = None
    """The API server refused a child."""
    rolled_back: Finding | None = None
    """The updated revision was given up, and why."""
    compiles_in_pods: bool = False
    """Replicas fill the bank before they serve."""
    lent: int = 0
    """Replicas that are down so that a compile Job has their accelerators."""

    @property
    def wanted(self) -> int:
        """Replicas asked for."""
        return 0 if self.spec.suspend else self.spec.replicas

    @property
    def ready_pods(self) -> list[Object]:
        """Replicas that answer, oldest first."""
        return [pod for pod in self.observed.pods if is_ready(pod)]


def build(service: Mapping[str, Any], view: View, now: datetime) -> Object:
    """The status."""
    previous = service.get("status") or {}
    generation = int(service["metadata"]["generation"])
    found = conditions(_findings(view), previous.get("conditions") or [], generation, now)
    deployment = (view.deployment or {}).get("status") or {}
    buckets = bucket_rows(view.bucket_keys, view.bank, view.ready_pods or view.observed.pods, view.readiness, previous)
    ready_buckets = sum(1 for row in buckets if row["state"] == "Ready")
    status: Object = {
        "observedGeneration": generation,
        "conditions": found,
        "replicas": int(deployment.get("replicas", 0)),
        "readyReplicas": int(deployment.get("readyReplicas", 0)),
        "selector": view.selector,
        "buckets": buckets,
        "bucketSummary": f"{ready_buckets}/{len(buckets)}",
    }
    revision = {"current": _current(view), "updated": view.updated_revision}
    optional: Object = {
        "url": view.url if view.deployment else None,
        **members(view.models),
        "bank": view.bank_name,
        "revision": {name: value for name, value in revision.items() if value},
        "rollout": _edit(view),
        "coldStart": cold_start(view.ready_pods, view.readiness, view.bank) or previous.get("coldStart"),
        "lastFailure": _last_failure(view, previous),
    }
    return status | {name: value for name, value in optional.items() if value}


def _current(view: View) -> str | None:
    """The revision that all replicas run; while one replaces another, the one from before."""
    if view.deployment is None or not _rollout(view).holds:
        return view.current_revision
    return str((view.deployment["metadata"].get("labels") or {}).get(REVISION_LABEL) or "") or None


def is_rolled_out(view: View) -> bool:
    """Whether all replicas that are asked for are there, ready, and of the Deployment's revision."""
    return _rollout(view).holds


def _edit(view: View) -> Object | None:
    """The edit, until the replicas run it."""
    return None if _current(view) == view.updated_revision else view.rollout


def _findings(view: View) -> dict[Condition, Finding]:
    accepted, model, bank, rollout = view.accepted, _model(view), _bank(view), _rollout(view)
    available = _available(view)
    made = (accepted, model, bank, view.rolled_back or rollout)
    ready = first_failing(made, Finding(True, Reason.READY))
    if ready.holds and view.wanted == 0:
        ready = rollout if view.spec.suspend else Finding(True, Reason.SCALED_TO_ZERO)
    progressing = _progressing(view, (accepted, model, bank), rollout)
    if view.paused is not None:
        ready, progressing = _while_paused(ready, view.paused), replace(view.paused, holds=False)
    findings = {
        Condition.READY: ready,
        Condition.ACCEPTED: accepted,
        Condition.MODEL_READY: model,
        Condition.BANK_READY: bank,
        Condition.AVAILABLE: available,
        Condition.PROGRESSING: progressing,
    }
    if (degraded := _degraded(view, (model, bank))) is not None:
        findings[Condition.DEGRADED] = degraded
    if view.update:
        findings[Condition.UPDATE_AVAILABLE] = Finding(True, Reason.NEWER_TEMPLATE, view.update)
    return findings


def _progressing(view: View, before: Sequence[Finding], rollout: Finding) -> Finding:
    """How the replicas get there; while an edit is rolled out, what it costs and what it waits for."""
    edit = _edit(view)
    if edit is None:
        return Finding(not rollout.holds and not rollout.stalled, rollout.reason, rollout.message)
    wait = first_failing((*before, rollout), Finding(False, Reason.ROLLING_OUT))
    message = f"{edit['impact']} ({', '.join(edit['fields'])}): {wait.sentence}"
    return Finding(not wait.stalled, wait.reason, message)


def _while_paused(ready: Finding, paused: Finding) -> Finding:
    if ready.holds:
        return paused
    return Finding(False, Reason.PAUSED, f"{paused.sentence} What was seen: {ready.sentence}", stalled=True)


def _degraded(view: View, made_first: Sequence[Finding]) -> Finding | None:
    """What keeps the edited spec from being served while the revision before it goes on; None where nothing does."""
    if view.rolled_back is not None:
        return Finding(True, view.rolled_back.reason, view.rolled_back.message)
    stuck = next((finding for finding in made_first if not finding.holds and finding.stalled), None)
    if stuck is None or not view.ready_pods:
        return None
    return Finding(True, stuck.reason, f"the revision before goes on serving: {stuck.sentence}")


def _model(view: View) -> Finding:
    if not any(item.live for item in view.models):
        return Finding(False, Reason.WAITING_FOR_MODEL, "" if view.accepted.holds else "the spec is not accepted yet")
    return of_models(view.models)


def _bank(view: View) -> Finding:
    if view.bank_name is None:
        return Finding(True, Reason.NOT_NEEDED) if view.accepted.holds else Finding(False, Reason.WAITING_FOR_BANK)
    status = (view.bank or {}).get("status") or {}
    if view.bank is not None and set(view.bucket_keys) <= finished_keys(status):
        good = Finding(True, Reason.IMPORTED if words(view.bank) is IMPORT_WORDS else Reason.COMPILED)
        dropped = served_uncompiled(status, view.bucket_keys)
        return shortcoming(status, view.bucket_keys) or _disputed(view) or replace(good, message=dropped)
    if view.compiles_in_pods and view.wanted == 0:
        return Finding(True, Reason.NOT_NEEDED, "replicas compile before they serve, and none is asked for")
    child = of_child(view.bank, Finding(False, Reason.WAITING_FOR_BANK))
    return Finding(False, Reason.WAITING_FOR_BANK, child.message) if child.holds else child


def _disputed(view: View) -> Finding | None:
    """What replicas could not take of what the bank holds."""
    found = disputes(view.bank, view.readiness)
    if not found:
        return None
    first = found[0]
    more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
    cure = "compared once more" if first.reason == Reason.PICTURE_DIFFERS else "verified"
    text = f"replica {first.pod} runs {first.key} eagerly: {first.why}{more}; the bank is {cure} and made again"
    return Finding(False, Reason(first.reason), text)


def _available(view: View) -> Finding:
    if view.spec.suspend:
        return Finding(False, Reason.SUSPENDED)
    # NB: of a spec that is not accepted, the Deployment knows nothing
    wanted = view.wanted if view.deployment is None else int(view.deployment["spec"]["replicas"])
    if view.deployment is not None and wanted == 0 and not view.lent:
        return Finding(True, Reason.SCALED_TO_ZERO)
    ready = len(view.ready_pods)
    if ready:
        return Finding(True, Reason.MINIMUM_AVAILABLE, f"{ready} of {wanted} replicas answer")
    if view.lent and wanted == 0:
        return Finding(False, Reason.ACCELERATOR_LENT, "the only replica is down to lend its accelerator")
    return Finding(False, Reason.REPLICAS_MISSING, f"0 of {wanted} replicas answer")


def _rollout(view: View) -> Finding:
    if view.trouble is not None:
        return view.trouble
    if view.spec.suspend:
        return Finding(False, Reason.SUSPENDED, stalled=True)
    if view.deployment is None:
        return Finding(False, Reason.POD_STARTING, "no replica was started yet")
    status = view.deployment.get("status") or {}
    seen = int(status.get("observedGeneration", 0)) >= int(view.deployment["metadata"]["generation"])
    updated, ready = int(status.get("updatedReplicas", 0)), int(status.get("readyReplicas", 0))
    total = int(status.get("replicas", 0))
    running = view.wanted - view.lent
    if seen and updated == ready == total == running and len(view.ready_pods) == running:
        text = f"{running} of {view.wanted} replicas run, the other one lends its accelerator to the compile Job"
        return Finding(False, Reason.ACCELERATOR_LENT, text) if view.lent else Finding(True, Reason.ROLLED_OUT)
    return _why_not(view, f"{ready} of {view.wanted} replicas ready, {updated} updated")


def _why_not(view: View, count: str) -> Finding:
    unready = [pod for pod in view.observed.pods if not is_ready(pod) and not pod["metadata"].get("deletionTimestamp")]
    deadline = condition_of(view.deployment or {}, "Progressing")
    late = deadline.get("reason") == "ProgressDeadlineExceeded"
    refused = condition_of(view.deployment or {}, "ReplicaFailure")
    if refused.get("status") == "True":
        return Finding(False, Reason.CHILD_REFUSED, f"{refused.get('message', '')}; {count}", stalled=True)
    if not unready:
        return Finding(False, Reason.ROLLING_OUT, count)
    newest = Observed(unready, view.observed.claim_troubles, view.observed.pod_troubles)
    wait = waiting(newest, MEMORY_FIELD)
    if wait is not None and (wait.stalled or not late):
        return Finding(False, wait.reason, f"{wait.message}; {count}", stalled=wait.stalled)
    pod = unready[-1]
    said = view.readiness.get(pod["metadata"]["name"]) or {}
    last = ending(pod, Reason.CRASHING, MEMORY_FIELD)
    if last is not None and last.exit_code != 0:
        return Finding(False, last.reason, f"{last.message}; {count}", stalled=True)
    if late:
        return Finding(
            False, Reason.PROGRESS_DEADLINE_EXCEEDED, f"{deadline.get('message', '')}; {count}", stalled=True
        )
    words = str(said.get("message") or said.get("state") or "").lower()
    doing = f"pod {pod['metadata']['name']} is {words}; " if words and is_running(pod) else ""
    return Finding(False, Reason.LOADING if is_running(pod) else Reason.ROLLING_OUT, doing + count)


def _last_failure(view: View, previous: Mapping[str, Any]) -> Object | None:
    """The newest failure of the fetch Job, the compile Job and the replicas, and of what status remembers."""
    children = (*(item.live for item in view.models), view.bank)
    failures = [((child or {}).get("status") or {}).get("lastFailure") for child in children]
    for pod in view.observed.pods:
        end = ending(pod, Reason.CRASHING, MEMORY_FIELD)
        if end is not None and end.exit_code != 0:
            failure = {"reason": end.reason.value, "message": end.message[:1024], "component": "server"}
            failures.append({**failure, "exitCode": end.exit_code, "time": end.time})
    failures.append(previous.get("lastFailure"))
    known: Sequence[Object] = [item for item in failures if item]
    return max(known, key=lambda item: str(item["time"]), default=None)
