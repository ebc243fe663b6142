"""Every reason that a condition can have: a sentence, what was seen, the reason, and whose words are in the message."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from sdxl_operator.accept import bank_fits, measured
from sdxl_operator.api.service import ServiceSpec
from sdxl_operator.naming import BANK, REASONS, Object, Reason, Ref
from sdxl_operator.reconcile.children import NotOurs, refusal_reason
from sdxl_operator.status import model as model_status
from sdxl_operator.status.conditions import Finding
from sdxl_operator.status.pods import Observed
from sdxl_operator.status.work import Standing
from tests.operator.builders import a_profile, owner, resolved, service_spec
from tests.operator.observations import (
    COMPLETE,
    FAILED,
    FETCHED,
    FROM,
    KEPT,
    MISSING,
    a_deployment,
    a_job,
    a_view,
    child,
    ended,
    imported,
    of_bank,
    of_compile,
    of_fetch,
    of_import,
    of_model,
    of_service,
    pod,
    refused,
    running,
    unplaced,
    unready,
    used,
    waiting,
    words,
)

R = Reason
PAUSED = Finding(True, R.PAUSED)
DAMAGED = {"key": "128x128b1", "entry": "Corrupt", "digest": "sha256:2", "why": "its sha256 is not the manifest's"}
LATE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "RS has timed out"}
QUOTA = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: cards"}
DEADLINE = {"type": "Failed", "reason": "DeadlineExceeded", "message": "Job was active longer than specified"}
BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}


def of_compiling(finding: Finding) -> Object:
    """The status of a bank whose Job stands so."""
    return of_bank(Standing(finding))


def bad_buckets() -> Object:
    spec = ServiceSpec.model_validate(service_spec({"buckets": [{"width": 136, "height": 128}]}))
    return of_service(replace(a_view(), accepted=measured(spec, [used({"status": {"sizeMultiple": 32}})])))


def strong_adapter() -> Object:
    spec = ServiceSpec.model_validate(
        service_spec({"model": {"adapters": [{"name": "ink", "source": "demo://pixel"}]}})
    )
    models = [used({"status": {"sizeMultiple": 32}}), used({"status": {"rank": 128}}, "adapters/ink", "i")]
    return of_service(replace(a_view(), accepted=measured(spec, models)))


def taken() -> Object:
    error = NotOurs(Ref("v1", "Service", "team", "studio"))
    return of_service(a_view(trouble=Finding(False, refusal_reason(error), str(error), stalled=True)))


def on_zero(change: Object, kind: str = "Ready") -> Object:
    return of_service(a_view(change, deployment=a_deployment(0, 0, 0), observed=Observed()), kind)


def named_bank(spec: Object | None) -> Object:
    """The condition of a service that names a bank with these changes to what it would make; None: there is none."""
    service = resolved({"tuneBank": {"bankRef": {"name": "shared"}}})
    there = None if spec is None else owner(BANK, "shared", {**service.own_bank, **spec})
    return of_service(replace(a_view(), accepted=bank_fits(replace(service, named_bank=there))), "Accepted")


IN_ARTIFACT = {"bucket": "128x128b1", "state": "Kept", "digest": "sha256:2"}

TABLE: list[tuple[str, Callable[[], Object], Reason, tuple[str, ...]]] = [
    ("all is there", lambda: of_service(a_view()), R.READY, ()),
    ("the spec is fine", lambda: of_service(a_view(), "Accepted"), R.ACCEPTED, ()),
    (
        "the profile does not exist",
        lambda: refused({"accelerator": {"profile": "gpu"}}, a_profile("cpu"), a_profile("npu")),
        R.PROFILE_NOT_FOUND,
        ("'gpu'", "cpu, npu"),
    ),
    (
        "there is no profile at all",
        lambda: refused({"accelerator": {"profile": "gpu"}}, a_profile("only")),
        R.PROFILE_NOT_FOUND,
        ("only",),
    ),
    (
        "the profile cannot be read",
        lambda: refused(None, a_profile(change={"startupBudgetSeconds": 1})),
        R.PROFILE_INVALID,
        ("AcceleratorProfile cpu", "spec.startupBudgetSeconds", "greater than or equal to 10"),
    ),
    (
        "the profile is for others",
        lambda: refused(None, a_profile(change={"allowedNamespaces": ["a", "b"]})),
        R.PROFILE_NOT_ALLOWED,
        ("a, b",),
    ),
    (
        "several of nothing",
        lambda: refused({"accelerator": {"count": 2}}),
        R.ACCELERATOR_COUNT_INVALID,
        ("spec.accelerator.count is 2", "profile cpu"),
    ),
    (
        "a size between what the model can",
        bad_buckets,
        R.BUCKET_NOT_DIVISIBLE,
        ("136x128", "nearest: 128x128, 160x128", "multiples of 32"),
    ),
    (
        "an adapter of a higher rank than is allowed",
        strong_adapter,
        R.ADAPTER_RANK_TOO_HIGH,
        ("ink has rank 128", "its maximumRank is 64"),
    ),
    (
        "a stored spec that does not fit",
        lambda: refused({"precision": "FP7"}),
        R.SPEC_INVALID,
        ("spec.precision", "'FP7'"),
    ),
    (
        "a ReplicaSet whose pods are refused",
        lambda: unready(deployment=a_deployment(have=0, ready=0, **QUOTA)),
        R.CHILD_REFUSED,
        ("exceeded quota: cards",),
    ),
    (
        "a Job whose pods are refused",
        lambda: of_fetch(a_job(), refusal="exceeded quota: pods"),
        R.CHILD_REFUSED,
        ("exceeded quota: pods",),
    ),
    ("a Service of somebody else", taken, R.NAME_TAKEN, ("Service named studio",)),
    ("no model yet", lambda: of_service(a_view(models=(used(None),))), R.WAITING_FOR_MODEL, ()),
    ("no bank yet", lambda: of_service(a_view(bank=None)), R.WAITING_FOR_BANK, ()),
    (
        "a bank that is ready without this bucket",
        lambda: of_service(a_view(bank=child(R.COMPILED, entries=[]))),
        R.WAITING_FOR_BANK,
        (),
    ),
    ("the fetch Job is about to start", lambda: of_fetch(None), R.FETCHING, ("fetch Job",)),
    ("the fetch Job runs", lambda: of_fetch(a_job(), running()), R.FETCHING, ("the-job",)),
    (
        "the fetch Job's result",
        lambda: of_fetch(a_job(COMPLETE), pod(ended(0, FETCHED), phase="Succeeded")),
        R.MODEL_PRESENT,
        ("2 files", "5 bytes"),
    ),
    (
        "files that are no pipeline",
        lambda: of_fetch(a_job(FAILED), pod(ended(1, words("ModelInvalid", "no unet")), phase="Failed")),
        R.MODEL_INVALID,
        ("no unet", "tried 1 time,"),
    ),
    (
        "nothing at the path",
        lambda: of_fetch(a_job(FAILED), pod(ended(1, words("ModelMissing", "/models/x is empty")), phase="Failed")),
        R.MODEL_MISSING,
        ("/models/x is empty",),
    ),
    *(
        (
            f"a fetch that says {reason.value}",
            lambda reason=reason: of_fetch(  # type: ignore[misc]
                a_job(FAILED), pod(ended(1, words(reason.value, "hf://a/b: so it is")), phase="Failed")
            ),
            reason,
            ("hf://a/b: so it is", "tried 1 time,"),
        )
        for reason in (R.SOURCE_NOT_FOUND, R.SOURCE_UNAUTHORIZED, R.SOURCE_UNAVAILABLE, R.CHECKSUM_MISMATCH)
    ),
    (
        "a token's Secret that is missing",
        lambda: of_fetch(
            a_job(),
            waiting("ContainerCreating"),
            pod_troubles={"pod-1": 'MountVolume.SetUp failed for volume "hub-tokens" : secret "hub" not found'},
        ),
        R.SECRET_NOT_FOUND,
        ('volume "hub-tokens"', "make a Secret hub"),
    ),
    (
        "a token's key that is missing",
        lambda: of_fetch(
            a_job(),
            waiting("ContainerCreating"),
            pod_troubles={"pod-1": "MountVolume.SetUp failed : references non-existent secret key: tokne"},
        ),
        R.SECRET_NOT_FOUND,
        ("add the key tokne to the Secret",),
    ),
    (
        "a fetch that fails for its own reason",
        lambda: of_fetch(a_job(FAILED), pod(ended(1, words("Internal", "oops")), phase="Failed")),
        R.FETCH_FAILED,
        ("oops", "again at 2030-01-01T12:00:45Z"),
    ),
    (
        "a container that ends without JSON",
        lambda: of_fetch(a_job(FAILED), pod(ended(1, "Traceback: boom"), phase="Failed")),
        R.FETCH_FAILED,
        ("Traceback: boom",),
    ),
    (
        "a container that ends without a word",
        lambda: of_fetch(a_job(FAILED), pod(ended(3, "", ""), phase="Failed")),
        R.FETCH_FAILED,
        ("exit code 3",),
    ),
    (
        "a failed Job whose pods are gone",
        lambda: of_fetch(a_job(FAILED)),
        R.FETCH_FAILED,
        ("Container failed",),
    ),
    (
        "a result that is lost",
        lambda: of_fetch(a_job(COMPLETE)),
        R.FETCH_FAILED,
        ("the-job", "runs once more"),
    ),
    (
        "a claim that does not exist",
        lambda: of_fetch(a_job(), unplaced('persistentvolumeclaim "weights" not found')),
        R.CLAIM_NOT_FOUND,
        ("weights", "make a PersistentVolumeClaim"),
    ),
    (
        "a provisioner that refuses",
        lambda: of_fetch(
            a_job(), unplaced("pod has unbound claims"), claim_troubles={"weights": "only RWO is supported"}
        ),
        R.VOLUME_NOT_PROVISIONED,
        ("claim weights", "only RWO is supported"),
    ),
    (
        "a volume on its way",
        lambda: of_fetch(a_job(), unplaced("pod has unbound claims"), claim_troubles={"weights": ""}),
        R.VOLUME_PENDING,
        ("weights",),
    ),
    (
        "a full volume",
        lambda: of_compile(
            a_job(FAILED), pod(ended(1, words("VolumeFull", "no space", bucket="8x8b1")), phase="Failed")
        ),
        R.VOLUME_FULL,
        ("no space", "bucket 8x8b1"),
    ),
    *(
        (
            f"an image that gives {reason}",
            lambda reason=reason: of_fetch(a_job(), waiting(reason, "manifest unknown")),  # type: ignore[misc]
            R.IMAGE_PULL_FAILED,
            ("example.org/runtime:1", "manifest unknown"),
        )
        for reason in ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
    ),
    (
        "no node with a card",
        lambda: unready(unplaced("0/3 nodes: Insufficient huawei.com/Ascend910")),
        R.UNSCHEDULABLE,
        ("Insufficient huawei.com/Ascend910", "pod-1", "0 of 1 replicas ready"),
    ),
    (
        "a replica that paints other pictures than its bank has",
        lambda: unready(pod(BACK_OFF, last=ended(1, words("PictureDiffers", "differs by 0.5", bucket="8x8b1")))),
        R.PICTURE_DIFFERS,
        ("differs by 0.5", "or set spec.rollout.pictureCheck to Disabled", "bucket 8x8b1", "0 of 1 replicas ready"),
    ),
    (
        "an entry with which a replica paints another picture",
        lambda: of_service(
            a_view(readiness={"pod-1": {"buckets": [{**DAMAGED, "entry": "PictureDiffers", "why": "by 0.5"}]}})
        ),
        R.PICTURE_DIFFERS,
        ("replica pod-1 runs 128x128b1 eagerly: by 0.5", "compared once more and made again"),
    ),
    (
        "a secret that is missing from the environment",
        lambda: unready(waiting("CreateContainerConfigError", 'secret "x" not found')),
        R.SECRET_NOT_FOUND,
        ('secret "x" not found', "make a Secret x"),
    ),
    (
        "a secret that cannot be mounted",
        lambda: unready(
            waiting("ContainerCreating"),
            pod_troubles={"pod-1": 'MountVolume.SetUp failed for volume "api-keys" : secret "keys" not found'},
        ),
        R.SECRET_NOT_FOUND,
        ('volume "api-keys"', "make a Secret keys", "0 of 1 replicas ready"),
    ),
    (
        "a replica that recycled itself",
        lambda: unready(pod(BACK_OFF, last=ended(0, "", "Completed"))),
        R.POD_STARTING,
        ("pod-1 has drained and starts anew", "back-off 5m0s"),
    ),
    (
        "a container that the kubelet cannot make",
        lambda: unready(waiting("CreateContainerError", "no such executable")),
        R.CONTAINER_NOT_STARTED,
        ("no such executable",),
    ),
    (
        "a volume that cannot be mounted",
        lambda: of_fetch(
            a_job(), waiting("ContainerCreating"), pod_troubles={"pod-1": "MountVolume.SetUp failed: no such device"}
        ),
        R.CONTAINER_NOT_STARTED,
        ("MountVolume.SetUp failed",),
    ),
    ("a pod that starts", lambda: of_fetch(a_job(), waiting("ContainerCreating")), R.POD_STARTING, ("node-7",)),
    ("a pod nobody looked at", lambda: of_fetch(a_job(), unplaced()), R.POD_STARTING, ("waits for the scheduler",)),
    ("no replica yet", lambda: of_service(a_view(deployment=None)), R.POD_STARTING, ("no replica was started",)),
    (
        "a kernel out of patience with a compile Job",
        lambda: of_compile(a_job(FAILED), pod(ended(137, "", "OOMKilled"), phase="Failed")),
        R.OUT_OF_MEMORY,
        ("2Gi", "spec.compile.resources.limits.memory"),
    ),
    (
        "a compile Job that somebody killed, or a node without memory",
        lambda: of_compile(a_job(FAILED), pod(ended(137), phase="Failed")),
        R.COMPILE_FAILED,
        ("SIGKILL", "if nobody did that, memory ran out", "2Gi", "spec.compile.resources.limits.memory"),
    ),
    (
        "a replica out of memory",
        lambda: unready(pod(BACK_OFF, last=ended(137, "", "OOMKilled"))),
        R.OUT_OF_MEMORY,
        ("2Gi", "spec.server.resources.limits.memory"),
    ),
    (
        "memory that the runtime itself ran out of",
        lambda: of_compile(a_job(FAILED), pod(ended(1, words("OutOfMemory", "cannot allocate")), phase="Failed")),
        R.OUT_OF_MEMORY,
        ("cannot allocate", "2Gi"),
    ),
    (
        "a Job past its deadline",
        lambda: of_compile(a_job(DEADLINE)),
        R.DEADLINE_EXCEEDED,
        ("active longer", "spec.compile.tuning.activeDeadlineSeconds"),
    ),
    (
        "a bank that somebody writes",
        lambda: of_compile(a_job(FAILED), pod(ended(1, words("BankLocked", "held by pod-9")), phase="Failed")),
        R.BANK_LOCKED,
        ("held by pod-9",),
    ),
    ("the compile Job runs", lambda: of_compile(a_job(), running()), R.COMPILING, ("the-job",)),
    (
        "a compile that fails for its own reason",
        lambda: of_compile(a_job(FAILED), pod(ended(1, words("Internal", "graph break")), phase="Failed")),
        R.COMPILE_FAILED,
        ("graph break",),
    ),
    ("a bank with every bucket", lambda: of_service(a_view(), "BankReady"), R.COMPILED, ()),
    (
        "a bank that is named and does not exist",
        lambda: named_bank(None),
        R.BANK_NOT_FOUND,
        ("spec.tuneBank.bankRef names SDXLTuneBank shared",),
    ),
    (
        "a bank that is named and was made for another image",
        lambda: named_bank({"image": "example.org/other:2"}),
        R.BANK_DIFFERS,
        ("image is example.org/other:2 there, example.org/sdxl-runtime:1 here",),
    ),
    (
        "a bank from where the profile allows none",
        lambda: refused({"tuneBank": {"from": FROM}}),
        R.REGISTRY_NOT_ALLOWED,
        (FROM, "AcceleratorProfile cpu", "an admin lists registries in its bankRegistries"),
    ),
    (
        "a bank from elsewhere than the profile allows",
        lambda: refused({"tuneBank": {"from": FROM}}, a_profile(change={"bankRegistries": ["registry.example/other"]})),
        R.REGISTRY_NOT_ALLOWED,
        ("lets banks come from registry.example/other",),
    ),
    ("the import Job runs", lambda: of_import(a_job(), running()), R.IMPORTING, ("the-job",)),
    ("the import Job is about to start", lambda: of_import(None), R.IMPORTING, ("import Job",)),
    ("an imported bank", lambda: of_import(identity="1", entries=[IN_ARTIFACT]), R.IMPORTED, ()),
    (
        "an imported bank with every bucket of the service",
        lambda: of_service(a_view(bank=imported(KEPT)), "BankReady"),
        R.IMPORTED,
        (),
    ),
    (
        "an import that fails for its own reason",
        lambda: of_import(a_job(FAILED), pod(ended(1, words("Internal", "oops")), phase="Failed")),
        R.IMPORT_FAILED,
        ("oops", "again at"),
    ),
    *(
        (
            f"an import that fails with {reason}",
            lambda reason=reason: of_import(  # type: ignore[misc]
                a_job(FAILED), pod(ended(1, words(reason.value, "its words")), phase="Failed")
            ),
            reason,
            ("its words",),
        )
        for reason in (
            R.REGISTRY_UNAVAILABLE,
            R.REGISTRY_DENIED,
            R.ARTIFACT_MISSING,
            R.ARTIFACT_INVALID,
            R.SIGNATURE_INVALID,
        )
    ),
    (
        "an artefact without a bucket that is declared",
        lambda: of_service(a_view(bank=imported(MISSING)), "BankReady"),
        R.MISSING,
        ("128x128b1: the artefact holds 64x64b1; served uncompiled", "leave out tuneBank.from to compile"),
    ),
    (
        "an artefact that was made for something else",
        lambda: of_service(a_view(bank=imported(KEPT, stale="torch 2 here, 1 there")), "BankReady"),
        R.STALE,
        ("torch 2 here, 1 there",),
    ),
    ("an eager service", lambda: of_service(a_view(bank_name=None), "BankReady"), R.NOT_NEEDED, ()),
    (
        "a replica that loads",
        lambda: unready(running(), readiness={"pod-1": {"state": "Loading", "message": "reads unet 3 of 4"}}),
        R.LOADING,
        ("pod-1 is reads unet 3 of 4", "0 of 1 replicas ready"),
    ),
    (
        "a replica that warms up without a word",
        lambda: unready(running(), readiness={"pod-1": {"state": "Warming"}}),
        R.LOADING,
        ("warming",),
    ),
    (
        "a replica that keeps ending",
        lambda: unready(pod(BACK_OFF, last=ended(1, words("Internal", "no device")))),
        R.CRASHING,
        ("no device",),
    ),
    (
        "a replica that crashed and runs again",
        lambda: unready(running(last=ended(1, "segmentation fault"))),
        R.CRASHING,
        ("segmentation fault",),
    ),
    (
        "a rollout past its deadline",
        lambda: unready(running(), deployment=a_deployment(ready=0, **LATE)),
        R.PROGRESS_DEADLINE_EXCEEDED,
        ("RS has timed out",),
    ),
    ("one replica answers", lambda: of_service(a_view(), "Available"), R.MINIMUM_AVAILABLE, ("1 of 1",)),
    (
        "no replica answers",
        lambda: of_service(a_view(observed=Observed([running()])), "Available"),
        R.REPLICAS_MISSING,
        ("0 of 1",),
    ),
    (
        "a Deployment that was not looked at yet",
        lambda: of_service(a_view(deployment={**a_deployment(), "status": {}})),
        R.ROLLING_OUT,
        ("0 of 1",),
    ),
    ("all replicas are of the revision", lambda: of_service(a_view(), "Progressing"), R.ROLLED_OUT, ()),
    ("no replica is wanted", lambda: on_zero({"replicas": 0}), R.SCALED_TO_ZERO, ()),
    ("none is available because none is wanted", lambda: on_zero({"replicas": 0}, "Available"), R.SCALED_TO_ZERO, ()),
    ("a suspended service", lambda: on_zero({"suspend": True}), R.SUSPENDED, ()),
    ("a suspended service serves nobody", lambda: on_zero({"suspend": True}, "Available"), R.SUSPENDED, ()),
    (
        "a newer profile",
        lambda: of_service(a_view(update="image: a → b"), "UpdateAvailable"),
        R.NEWER_TEMPLATE,
        ("image: a → b",),
    ),
    ("a paused service that serves", lambda: of_service(a_view(paused=PAUSED)), R.PAUSED, ()),
    (
        "a paused service whose replica went",
        lambda: of_service(a_view(paused=PAUSED, deployment=a_deployment(ready=0), observed=Observed([]))),
        R.PAUSED,
        ("nothing is applied", "0 of 1 replicas ready"),
    ),
    (
        "a compile Job that finds no accelerator",
        lambda: next(iter(of_compiling(Finding(False, R.WAITING_FOR_ACCELERATOR, "no card is free"))["conditions"])),
        R.WAITING_FOR_ACCELERATOR,
        ("no card is free",),
    ),
    (
        "the only replica lends its accelerator",
        lambda: of_service(a_view(lent=1, deployment=a_deployment(0, 0, 0), observed=Observed()), "Available"),
        R.ACCELERATOR_LENT,
        ("to lend its accelerator",),
    ),
    (
        "a replica that finds an entry damaged",
        lambda: of_service(a_view(readiness={"studio-1": {"buckets": [DAMAGED]}}), "BankReady"),
        R.CORRUPT,
        ("studio-1", "its sha256 is not the manifest's"),
    ),
    (
        "a revision that did not become ready",
        lambda: of_service(a_view(rolled_back=Finding(False, R.ROLLED_BACK, "revision b was taken back"))),
        R.ROLLED_BACK,
        ("revision b was taken back",),
    ),
    ("a paused service makes no progress", lambda: of_service(a_view(paused=PAUSED), "Progressing"), R.PAUSED, ()),
    (
        "a model that nobody uses",
        lambda: next(iter(of_model(Standing(model_status.unused()))["conditions"])),
        R.UNUSED,
        (),
    ),
]


@pytest.mark.parametrize(("see", "reason", "said"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_is_seen_has_its_reason_and_the_words_of_who_said_it(
    see: Callable[[], Object], reason: Reason, said: tuple[str, ...]
) -> None:
    condition = see()
    assert condition["reason"] == reason.value, condition
    for part in said or (REASONS[reason],):
        assert part in condition["message"], condition["message"]


def test_every_reason_is_in_the_table() -> None:
    assert {row[2] for row in TABLE} == set(Reason) == set(REASONS)


def test_every_reason_has_a_sentence_of_its_own() -> None:
    assert len(set(REASONS.values())) == len(REASONS)
    for reason, text in REASONS.items():
        assert text.endswith("."), reason
        assert reason.value.isalnum()
