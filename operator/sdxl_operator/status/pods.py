"""What pods, Jobs and claims say about why something does not run, in the words of whoever stopped it."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sdxl_operator.naming import Object, Reason
from sdxl_operator.status.conditions import Finding, parse_time

PULL_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
START_REASONS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError"}
PICTURE_FIELD = "spec.rollout.pictureCheck"
KILLED_EXIT_CODE = 137
"""128 + SIGKILL."""

RUNTIME_REASONS = {
    "VolumeFull": Reason.VOLUME_FULL,
    "OutOfMemory": Reason.OUT_OF_MEMORY,
    "ModelInvalid": Reason.MODEL_INVALID,
    "ModelMissing": Reason.MODEL_MISSING,
    "SourceNotFound": Reason.SOURCE_NOT_FOUND,
    "SourceUnauthorized": Reason.SOURCE_UNAUTHORIZED,
    "SourceUnavailable": Reason.SOURCE_UNAVAILABLE,
    "ChecksumMismatch": Reason.CHECKSUM_MISMATCH,
    "BankLocked": Reason.BANK_LOCKED,
    "RegistryUnavailable": Reason.REGISTRY_UNAVAILABLE,
    "RegistryDenied": Reason.REGISTRY_DENIED,
    "ArtifactMissing": Reason.ARTIFACT_MISSING,
    "ArtifactInvalid": Reason.ARTIFACT_INVALID,
    "SignatureInvalid": Reason.SIGNATURE_INVALID,
    "PictureDiffers": Reason.PICTURE_DIFFERS,
}
"""The runtime's own reasons, docs/contract.md; any other keeps the caller's reason."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The pods of one workload, newest last, and what events say of their claims and of the pods themselves."""

    pods: Sequence[Object] = ()
    claim_troubles: Mapping[str, str] = field(default_factory=dict)
    """Claims that are not bound → the provisioner's last warning, or an empty message."""
    pod_troubles: Mapping[str, str] = field(default_factory=dict)
    """Pods that do not start → the kubelet's last warning."""
    refusal: str = ""
    """Why the API server let no pod be made: a quota, an admission rule."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a container ended."""

    reason: Reason
    message: str
    exit_code: int
    time: str
    result: Object = field(default_factory=dict)
    """What it left in its termination message, when that was JSON."""


def waiting(observed: Observed, memory_field: str) -> Finding | None:
    """Why the newest pod does not run yet; None when it runs."""
    if not observed.pods:
        return Finding(False, Reason.CHILD_REFUSED, observed.refusal, True) if observed.refusal else None
    pod = observed.pods[-1]
    if not pod["spec"].get("nodeName"):
        return _not_placed(pod, observed.claim_troubles)
    return _not_started(pod, observed, memory_field)


def ending(pod: Mapping[str, Any], failed: Reason, memory_field: str) -> Ending | None:
    """How the pod's container ended last, None if it never did; `failed` is the reason if nothing better is known.

    An init container counts while it keeps the others from starting.
    """
    pending = [status for status in init_statuses(pod) if not _succeeded(status)]
    for status in (*pending, *container_statuses(pod)):
        terminated = status.get("state", {}).get("terminated") or status.get("lastState", {}).get("terminated")
        if terminated:
            return _ending(pod, terminated, failed, memory_field)
    return None


def init_statuses(pod: Mapping[str, Any]) -> list[Object]:
    """The statuses of the pod's init containers."""
    return list(pod.get("status", {}).get("initContainerStatuses") or [])


def init_result(pod: Mapping[str, Any]) -> Object:
    """What an init container that succeeded left in its termination message; empty before that."""
    done = (status["state"]["terminated"] for status in init_statuses(pod) if _succeeded(status))
    return next((_result(str(terminated.get("message", ""))) for terminated in done), {})


def is_initialising(pod: Mapping[str, Any]) -> bool:
    """Whether an init container of the pod runs."""
    return any("running" in status.get("state", {}) for status in init_statuses(pod))


def _succeeded(status: Mapping[str, Any]) -> bool:
    terminated = status.get("state", {}).get("terminated")
    return bool(terminated) and int(terminated.get("exitCode", 0)) == 0


def container_statuses(pod: Mapping[str, Any]) -> list[Object]:
    """The statuses of the pod's containers, none before the kubelet saw it."""
    return list(pod.get("status", {}).get("containerStatuses") or [])


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether the pod counts as ready and is not on its way out."""
    return not pod["metadata"].get("deletionTimestamp") and condition_of(pod, "Ready").get("status") == "True"


def condition_of(obj: Mapping[str, Any], kind: str) -> Object:
    """A condition of any object by its type; empty if it has none."""
    found: list[Object] = [item for item in obj.get("status", {}).get("conditions") or [] if item["type"] == kind]
    return found[0] if found else {}


def is_running(pod: Mapping[str, Any]) -> bool:
    """Whether a container of the pod runs."""
    return any("running" in status.get("state", {}) for status in container_statuses(pod))


def missing_secret(trouble: str) -> str:
    """The Secret that the kubelet did not find, by its warning about a pod; empty if it speaks of something else."""
    found = re.search(r'secret "([^"]+)" not found', trouble)
    return found[1] if found else ""


def oldest_first(pods: Iterable[Object]) -> list[Object]:
    """Pods by age."""
    return sorted(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))


def seconds_between(start: str | None, end: str | None) -> int | None:
    """Whole seconds between two times as Kubernetes writes them; None if one is missing."""
    if not start or not end:
        return None
    return max(round((parse_time(end) - parse_time(start)).total_seconds()), 0)


def _not_placed(pod: Mapping[str, Any], claim_troubles: Mapping[str, str]) -> Finding:
    message = str(condition_of(pod, "PodScheduled").get("message", ""))
    missing = re.search(r'persistentvolumeclaim "([^"]+)" not found', message)
    if missing:
        text = f"{message}: make a PersistentVolumeClaim {missing[1]} in this namespace, or name another"
        return Finding(False, Reason.CLAIM_NOT_FOUND, text, stalled=True)
    for claim in _claims(pod):
        if trouble := claim_troubles.get(claim):
            return Finding(False, Reason.VOLUME_NOT_PROVISIONED, f"claim {claim}: {trouble}", stalled=True)
    if "unbound" in message and claim_troubles:
        return Finding(False, Reason.VOLUME_PENDING, f"claim {', '.join(sorted(claim_troubles))}: {message}")
    if message:
        return Finding(False, Reason.UNSCHEDULABLE, f"pod {pod['metadata']['name']}: {message}", stalled=True)
    return Finding(False, Reason.POD_STARTING, f"pod {pod['metadata']['name']} waits for the scheduler")


def _not_started(pod: Mapping[str, Any], observed: Observed, memory_field: str) -> Finding | None:
    name = pod["metadata"]["name"]
    for status in (*init_statuses(pod), *container_statuses(pod)):
        wait = status.get("state", {}).get("waiting")
        if not wait:
            continue
        reason, message = str(wait.get("reason", "")), str(wait.get("message", ""))
        if reason in PULL_REASONS:
            return Finding(False, Reason.IMAGE_PULL_FAILED, f"image {status.get('image')}: {message}", stalled=True)
        if reason in START_REASONS:
            return _refused_by_kubelet(name, message or reason)
        if reason == "CrashLoopBackOff":
            last = ending(pod, Reason.CRASHING, memory_field)
            if last is not None and last.exit_code == 0:  # recycled, see server.recycleAfterRequests
                return Finding(False, Reason.POD_STARTING, f"pod {name} has drained and starts anew: {message}")
            last = last or Ending(Reason.CRASHING, message, 0, "")
            return Finding(False, last.reason, last.message, stalled=True)
    if is_running(pod) or pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return None
    if is_initialising(pod):
        return Finding(False, Reason.COMPILING, f"pod {name} compiles before it serves")
    if trouble := observed.pod_troubles.get(name):
        return _refused_by_kubelet(name, trouble)
    return Finding(False, Reason.POD_STARTING, f"pod {name} starts on node {pod['spec']['nodeName']}")


def _refused_by_kubelet(pod: str, words: str) -> Finding:
    if secret := missing_secret(words):
        text = f"pod {pod}: {words}: make a Secret {secret} in this namespace, and the pod starts"
        return Finding(False, Reason.SECRET_NOT_FOUND, text, stalled=True)
    if key := re.search(r"references non-existent secret key: (\S+)", words):
        text = f"pod {pod}: {words}: add the key {key[1]} to the Secret, or name another, and the pod starts"
        return Finding(False, Reason.SECRET_NOT_FOUND, text, stalled=True)
    return Finding(False, Reason.CONTAINER_NOT_STARTED, f"pod {pod}: {words}", stalled=True)


def _claims(pod: Mapping[str, Any]) -> list[str]:
    volumes = pod["spec"].get("volumes") or []
    return [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume]


def _ending(pod: Mapping[str, Any], terminated: Mapping[str, Any], failed: Reason, memory_field: str) -> Ending:
    exit_code = int(terminated.get("exitCode", 0))
    result = _result(str(terminated.get("message", "")))
    error = result.get("error") or {}
    reason = RUNTIME_REASONS.get(str(error.get("reason")), failed)
    message = str(error.get("message") or terminated.get("message") or terminated.get("reason") or "").strip()
    raising = f"its limit is {_memory_limit(pod)}: raise {memory_field}"
    if terminated.get("reason") == "OOMKilled":
        reason, message = Reason.OUT_OF_MEMORY, "the container was killed for memory"
    elif exit_code == KILLED_EXIT_CODE and not error:
        # the kernel also ends processes where the whole node is short of memory, and nobody tells the kubelet why
        message = f"the container was killed (SIGKILL); if nobody did that, memory ran out, {raising}"
    if reason is Reason.OUT_OF_MEMORY:
        message = f"{message}; {raising}"
    if reason is Reason.PICTURE_DIFFERS:
        message = f"{message}; restore what the bank was made with, or set {PICTURE_FIELD} to Disabled"
    where = f" (bucket {error['bucket']})" if error.get("bucket") else ""
    text = f"{message}{where}" if message else f"exit code {exit_code}"
    return Ending(reason, text, exit_code, str(terminated.get("finishedAt") or ""), result)


def _result(message: str) -> Object:
    try:
        result = json.loads(message)
    except ValueError:
        return {}
    return result if isinstance(result, dict) else {}


def _memory_limit(pod: Mapping[str, Any]) -> str:
    limits = pod["spec"]["containers"][0].get("resources", {}).get("limits", {})
    return str(limits.get("memory", "the node's memory"))
