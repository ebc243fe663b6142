"""What a cluster shows of pods, Jobs and Deployments, as the tests of status need it."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sdxl_operator.accept import Refusal, accept
from sdxl_operator.api.resource import Retention
from sdxl_operator.api.service import ServiceSpec
from sdxl_operator.naming import BANK, MODEL, ModelUse, Object, Reason
from sdxl_operator.status import bank as bank_status
from sdxl_operator.status import model as model_status
from sdxl_operator.status import service as service_status
from sdxl_operator.status.conditions import Finding
from sdxl_operator.status.pods import Observed
from sdxl_operator.status.service import View
from sdxl_operator.status.usage import Usage
from sdxl_operator.status.weights import UsedModel
from sdxl_operator.status.work import Standing, standing
from tests.operator.builders import NAMESPACE, NOW, a_profile, a_service, at, owner, service_spec

LATER = NOW + timedelta(seconds=60)
USED = Usage(("studio",), Retention.RETAIN, None)


def pod(state: Object | None = None, name: str = "pod-1", **change: Any) -> Object:
    """A pod on a node whose container is in this state; `ready`, `message` of the scheduler, `last` state."""
    status = {"name": "server", "image": "example.org/runtime:1", "state": state, "lastState": change.get("last", {})}
    placed: Object = {"type": "PodScheduled", "status": "True", "lastTransitionTime": at(1)}
    if "message" in change:
        placed = {"type": "PodScheduled", "status": "False", "message": change["message"]}
    volumes = [{"name": "claim-0", "persistentVolumeClaim": {"claimName": "weights"}}]
    resources = {"limits": {"memory": "2Gi"}}
    spec: Object = {"containers": [{"name": "server", "resources": resources}], "volumes": volumes}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "creationTimestamp": at(change.get("age", 0))},
        "spec": spec if change.get("node", True) is None else {**spec, "nodeName": "node-7"},
        "status": {
            "phase": change.get("phase", "Running"),
            "conditions": [placed, {"type": "Ready", "status": str(change.get("ready", False))}],
            **({"containerStatuses": [status]} if state is not None else {}),
        },
    }


def unplaced(message: str = "") -> Object:
    """A pod that the scheduler has not placed, with its words."""
    return pod(node=None, message=message, phase="Pending")


def waiting(reason: str, message: str = "", **change: Any) -> Object:
    return pod({"waiting": {"reason": reason, "message": message}}, phase="Pending", **change)


def running(**change: Any) -> Object:
    return pod({"running": {"startedAt": at(3)}}, **change)


def ended(exit_code: int, message: str = "", reason: str = "Error") -> Object:
    """A terminated state."""
    return {"terminated": {"exitCode": exit_code, "message": message, "reason": reason, "finishedAt": at(30)}}


def words(reason: str, message: str, **more: str) -> str:
    """A termination message as docs/contract.md has it."""
    return json.dumps({"error": {"reason": reason, "message": message, **more}})


def a_job(condition: Mapping[str, Any] | None = None) -> Object:
    status = {"conditions": [{"status": "True", "lastTransitionTime": at(30), **condition}]} if condition else {}
    times = {"startTime": at(10), "completionTime": at(30)}
    return {"metadata": {"name": "the-job", "creationTimestamp": at(5)}, "status": {**times, **status}}


FAILED = {"type": "Failed", "reason": "PodFailurePolicy", "message": "Container failed"}
COMPLETE = {"type": "Complete"}
FETCHED = json.dumps({"digest": "sha256:1", "bytes": 5, "files": 2, "sizeMultiple": 32})
MODEL_OBJECT = owner(MODEL, "m", {"source": "demo://shapes"})
BANK_OBJECT = owner(BANK, "b", {"profile": "cpu"})
FROM = "oci://registry.example/team/bank@sha256:" + "ab" * 32
IMPORTED_BANK = owner(BANK, "b", {"profile": "cpu", "from": FROM})


def fetch(job: Object | None, observed: Observed, previous: Object | None = None) -> Standing:
    return standing(job, observed, previous or {}, model_status.WORDS, LATER)


def of_model(found: Standing | None, previous: Object | None = None) -> Object:
    """An SDXLModel's status."""
    return model_status.build({**MODEL_OBJECT, "status": previous or {}}, found, USED, "claim", LATER)


def of_fetch(job: Object | None = None, *pods: Object, **observed: Any) -> Object:
    """The Ready condition of a model whose fetch Job stands so."""
    return one(of_model(fetch(job, Observed(pods, **observed))), "Ready")


def of_compile(job: Object | None = None, *pods: Object, **observed: Any) -> Object:
    """The Ready condition of a bank whose compile Job stands so."""
    found = standing(job, Observed(pods, **observed), {}, bank_status.WORDS, LATER)
    return one(of_bank(found), "Ready")


def of_import(job: Object | None = None, *pods: Object, **result: Any) -> Object:
    """The Ready condition of a bank whose import Job stands so, or has this result."""
    found = standing(job, Observed(pods), {}, bank_status.IMPORT_WORDS, LATER)
    if result:
        found = Standing(Finding(True, Reason.IMPORTING), result=result)
    return one(bank_status.build(IMPORTED_BANK, found, None, ["128x128b1"], USED, "claim", LATER), "Ready")


def imported(*entries: Object, **status: Any) -> Object:
    """A bank that was imported, with this in its status."""
    return {**IMPORTED_BANK, "status": {"entries": list(entries), **status}}


def of_bank(found: Standing | None, progress: Object | None = None, previous: Object | None = None) -> Object:
    bank = {**BANK_OBJECT, "status": previous or {}}
    return bank_status.build(bank, found, progress, ["128x128b1"], USED, "claim", LATER)


def child(reason: Reason, holds: bool = True, message: str = "", **status: Any) -> Object:
    """A model or a bank whose Ready condition says so."""
    ready = {"type": "Ready", "status": str(holds), "reason": reason.value, "message": message}
    return {"status": {"conditions": [ready], **status}}


MISSING = {"key": "128x128b1", "state": "Missing", "why": "the artefact holds 64x64b1"}
KEPT = {"key": "128x128b1", "state": "Kept", "digest": "sha256:2", "speedupPercent": 133}


def a_deployment(wanted: int = 1, have: int = 1, ready: int = 1, **condition: Any) -> Object:
    status = {"observedGeneration": 1, "replicas": have, "updatedReplicas": have, "readyReplicas": ready}
    conditions = [condition] if condition else []
    metadata = {"name": "studio", "generation": 1, "labels": {"sdxl.dev/revision": "studio-1"}}
    return {"metadata": metadata, "spec": {"replicas": wanted}, "status": {**status, "conditions": conditions}}


def used(live: Object | None, role: str = "model", name: str = "m") -> UsedModel:
    """An SDXLModel as a service uses it."""
    return UsedModel(ModelUse(role, name), live)


def a_view(change: Object | None = None, **members: Any) -> View:
    """A service whose model and bank are there and whose only replica is ready."""
    usual: dict[str, Any] = {
        "url": "http://studio",
        "models": (used(child(Reason.MODEL_PRESENT)),),
        "bank_name": "b",
        "bank": child(Reason.COMPILED, entries=[KEPT]),
        "deployment": a_deployment(),
        "observed": Observed([running(ready=True)]),
    }
    spec = ServiceSpec.model_validate(service_spec(change))
    return View(spec, ("128x128b1",), Finding(True, Reason.ACCEPTED), **{**usual, **members})


def of_service(view: View, kind: str = "Ready", previous: Object | None = None) -> Object:
    """A condition of a service of which this was seen."""
    service = {**a_service(), "status": previous or {}}
    return one(service_status.build(service, view, LATER), kind)


def unready(*pods: Object, deployment: Object | None = None, **more: Any) -> Object:
    """The Ready condition of a service whose only replica is not ready."""
    readiness = more.pop("readiness", {})
    found = deployment or a_deployment(ready=0)
    return of_service(a_view(deployment=found, observed=Observed(pods, **more), readiness=readiness))


def refused(change: Object | None = None, *profiles: Object) -> Object:
    """The Accepted condition of a service that cannot be carried out."""
    service = a_service(change)
    verdict = accept(service, profiles or [a_profile()])
    assert isinstance(verdict, Refusal)
    return of_service(View(verdict.spec, (), verdict.finding), "Accepted")


def one(status: Object, kind: str) -> Object:
    """A condition by its type; empty if it is not there."""
    found = [item for item in status["conditions"] if item["type"] == kind]
    return found[0] if found else {}
