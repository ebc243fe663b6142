"""What each field costs: the table that docs/edits.md is made from, and that the tests hold against the plans."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sdxl_operator.impact.kinds import Impact

NOTHING, LIVE, RESTART = (Impact.NOTHING,), (Impact.LIVE,), (Impact.RESTART,)
RECOMPILE = (Impact.RECOMPILE, Impact.RESTART)
RETUNE = (Impact.RETUNE, Impact.RESTART)
REFETCH = (Impact.REFETCH, Impact.RESTART)


@dataclass(frozen=True, slots=True)
class Cost:
    """What an edit of a field costs."""

    impacts: tuple[Impact, ...]
    """The first that applies, see `kinds.applies`."""
    why: str
    removed: Impact | None = None
    """Of an item of a list, or of a part that may be absent: what it costs to take it away, where that is less."""


def _alike(cost: Cost, fields: Iterable[str]) -> Mapping[str, Cost]:
    return dict.fromkeys(fields, cost)


FILES = Cost(REFETCH, "another SDXLModel, unless one of this source, variant and volume is in use already")
REFINER = Cost(FILES.impacts, FILES.why, removed=Impact.RESTART)
ADAPTER = Cost(
    REFETCH, "an SDXLModel of its own, and nothing in the bank; taking one away only replaces pods", Impact.RESTART
)
MODEL_VOLUME = Cost(REFETCH, "files that are fetched get another SDXLModel; those of pvc:// stay in their claim")
BANK_VOLUME = Cost(
    (Impact.REFETCH, Impact.RETUNE, Impact.RESTART),
    "another bank, and where model.volume says nothing other SDXLModels too, since they are kept with it",
)
BANK_IDENTITY = Cost(RETUNE, "part of what a bank's name stands for, so another bank")
BUCKET = Cost(
    RECOMPILE, "one that is added is compiled, the others stay; taking one away only replaces pods", Impact.RESTART
)
POD = Cost(RESTART, "part of the replicas' pods")
DEPLOYMENT = Cost(LIVE, "set on the Deployment, whose pods stay")
PDB_TOO = Cost(LIVE, "set on the Deployment and the PodDisruptionBudget, whose pods stay")
ROUTE = Cost(LIVE, "set on the Service, and shown in status.url")
LAST_USER = Cost(NOTHING, "what becomes of it when its last user goes")
NEXT_JOB = Cost(NOTHING, "of the next compile Job; one at work starts again, and keeps what it has published")

COMPILE_RESOURCES = Cost(
    (Impact.RESTART, Impact.NOTHING), "of the next compile Job; where replicas compile before they serve, of their pods"
)
TOKEN = Cost(NOTHING, "of the next fetch Job; files that are there are not fetched again")

SERVICE_FIELDS: Mapping[str, Cost] = {
    **_alike(FILES, ("model.source", "model.revision", "model.variant")),
    **_alike(TOKEN, ("model.tokenSecretRef.name", "model.tokenSecretRef.key")),
    **_alike(REFINER, ("model.refiner", "model.refiner.source", "model.refiner.revision", "model.refiner.variant")),
    **_alike(TOKEN, ("model.refiner.tokenSecretRef.name", "model.refiner.tokenSecretRef.key")),
    "model.refiner.startAtPercent": POD,
    "model.adapters": Cost(RESTART, "their order"),
    **_alike(
        ADAPTER,
        ("model.adapters[]", "model.adapters[].name", "model.adapters[].source", "model.adapters[].revision"),
    ),
    **_alike(TOKEN, ("model.adapters[].tokenSecretRef.name", "model.adapters[].tokenSecretRef.key")),
    "model.adapters[].maximumRank": POD,
    **_alike(
        MODEL_VOLUME,
        (
            "model.volume.claimName",
            "model.volume.size",
            "model.volume.storageClassName",
            "model.volume.accessModes[]",
        ),
    ),
    "model.retention": LAST_USER,
    **_alike(BANK_IDENTITY, ("accelerator.profile", "accelerator.count", "precision")),
    "buckets": Cost(RESTART, "their order: a request without a size gets the first"),
    **_alike(
        BUCKET,
        ("buckets[]", "buckets[].width", "buckets[].height", "buckets[].batch", "buckets[].promptTokens"),
    ),
    "compile.mode": Cost(RETUNE, "with AheadOfTime there is a bank, with Eager there is none; it stays for others"),
    "compile.tuning.minimumSpeedupPercent": BANK_IDENTITY,
    "compile.tuning.activeDeadlineSeconds": NEXT_JOB,
    "compile.placement": Cost(
        (Impact.RESTART, Impact.NOTHING), "with InitContainer replicas compile before they serve; else of the next Job"
    ),
    "compile.borrow": NEXT_JOB,
    **_alike(COMPILE_RESOURCES, ("compile.resources.requests", "compile.resources.limits")),
    **_alike(
        BANK_VOLUME,
        (
            "tuneBank.volume.claimName",
            "tuneBank.volume.size",
            "tuneBank.volume.storageClassName",
            "tuneBank.volume.accessModes[]",
        ),
    ),
    **_alike(BANK_IDENTITY, ("tuneBank.from", "tuneBank.bankRef.name")),
    "tuneBank.retention": LAST_USER,
    "replicas": DEPLOYMENT,
    "rollout.strategy": DEPLOYMENT,
    "rollout.maxUnavailable": PDB_TOO,
    "rollout.drainTimeoutSeconds": Cost(RESTART, "it is the pods' grace period"),
    "rollout.progressDeadlineSeconds": DEPLOYMENT,
    "rollout.pictureCheck": Cost(RESTART, "what a replica compares before it counts as ready"),
    **_alike(
        POD,
        (
            "server.queueLimitSeconds",
            "server.requestTimeoutSeconds",
            "server.recycleAfterRequests",
            "server.logPrompts",
            "server.defaults.numInferenceSteps",
            "server.defaults.guidanceScale",
            "server.defaults.scheduler",
            "server.resources.requests",
            "server.resources.limits",
            "server.env[].name",
            "server.env[].value",
            "server.imagePullSecrets[].name",
            "server.labels",
            "server.annotations",
            "server.topologySpread[].topologyKey",
            "server.topologySpread[].maxSkew",
            "server.topologySpread[].whenUnsatisfiable",
            "server.priorityClassName",
        ),
    ),
    "auth.apiKeysSecretRef.name": Cost(RESTART, "another Secret is mounted; its keys are read anew without a restart"),
    **_alike(ROUTE, ("expose.service.type", "expose.service.port")),
    "suspend": Cost(LIVE, "the Deployment is scaled to zero, and back"),
}
"""Every field of an SDXLService's spec."""

PROFILE_POD = Cost(RESTART, "part of the replicas' pods; taken up with the service's next edit that replaces them")

PROFILE_FIELDS: Mapping[str, Cost] = {
    "image": Cost(RETUNE, "a bank is of one image; taken up with the service's next edit that replaces pods"),
    "recommendedCompileMode": Cost(RETUNE, "where compile.mode is Auto: see there"),
    "allowedNamespaces[]": Cost(NOTHING, "of what is accepted from then on"),
    "identityLabels[]": Cost(NOTHING, "banks are made while replicas serve on, and taken up without a restart"),
    **_alike(Cost(NOTHING, "of what is imported from then on"), ("bankRegistries[]", "bankPublicKey")),
    **_alike(
        PROFILE_POD,
        (
            "backend",
            "imagePullPolicy",
            "resource.name",
            "resource.count",
            "runtimeClassName",
            "schedulerName",
            "nodeSelector",
            "tolerations[].key",
            "tolerations[].operator",
            "tolerations[].value",
            "tolerations[].effect",
            "hostMounts[].hostPath",
            "hostMounts[].readOnly",
            "hostMounts[].type",
            "podLabels",
            "podAnnotations",
            "environment[].name",
            "environment[].value",
            "environment[].fieldRef.fieldPath",
            "startupBudgetSeconds",
        ),
    ),
}
"""Every field of an AcceleratorProfile's spec."""
