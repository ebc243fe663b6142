"""The SDXLTuneBank of a service, and what a bank makes: the compile Job and the list of accepted digests."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sdxl_operator import naming
from sdxl_operator.api.profile import ProfileSpec
from sdxl_operator.api.service import Bucket, ServiceSpec
from sdxl_operator.naming import Object
from sdxl_operator.plan import job
from sdxl_operator.plan.bank_environment import bank_environment
from sdxl_operator.plan.pod import (
    INTERNAL_PORT,
    PORTS,
    buckets_json,
    claim_mounts,
    environment,
    on_accelerator,
    on_nodes,
    pod_spec,
    requirements,
)
from sdxl_operator.plan.resolved import Resolved
from sdxl_operator.plan.weights import MODELS_PATH, claim_name, model_path

ACCEPTED_FILE = "accepted.json"
COMPILE_CONTAINER = "compile"


def build(service: Resolved) -> Object | None:
    """The SDXLTuneBank that a service needs; owned by nobody, because it outlives the service. None: it is named."""
    spec, name = service.bank, service.bank_name
    if spec is None or name is None or service.spec.tune_bank.bank_ref is not None:
        return None
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.BANK,
        "metadata": {"name": name, "namespace": service.namespace, "labels": naming.labels("bank", name)},
        "spec": spec,
    }


def of_class(whole: Mapping[str, Any], labels: Mapping[str, str]) -> Object:
    """The part of a bank for one class of nodes: it goes with the whole, whose volume it fills."""
    spec = {**whole["spec"], "nodeClass": dict(labels)}
    name, whole_name = naming.bank_name(spec), whole["metadata"]["name"]
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.BANK,
        "metadata": {
            "name": name,
            "namespace": whole["metadata"]["namespace"],
            "labels": {**naming.labels("bank", name), naming.WHOLE_BANK_LABEL: whole_name},
            "ownerReferences": [naming.owner_reference(whole)],
        },
        "spec": spec,
    }


@dataclass(frozen=True, slots=True)
class Demand:
    """What the services that use a bank ask of it."""

    buckets: tuple[Bucket, ...]
    deadline_seconds: int
    resources: Object
    pull_secrets: tuple[str, ...] = ()
    again: str = ""
    """Names what replicas could not take: another complaint is another Job, the same one is not."""
    disputed: tuple[str, ...] = ()
    """The keys of entries that replicas found whole and could not run as they should."""
    import_resources: Object = field(default_factory=dict)
    """What an import gets: those of a compile Job only where a user says them."""

    @classmethod
    def of(cls, users: Sequence[ServiceSpec]) -> "Demand":
        """The union of the users' buckets, the longest deadline, and the first user's resources that say anything."""
        buckets = {bucket for user in users for bucket in user.buckets}
        asked = [user.compile.resources for user in users] + [user.server.resources for user in users]
        return cls(
            buckets=tuple(sorted(buckets, key=_order)),
            deadline_seconds=max((user.compile.tuning.active_deadline_seconds for user in users), default=0),
            resources=requirements(*asked),
            pull_secrets=tuple(sorted({secret.name for user in users for secret in user.server.image_pull_secrets})),
            import_resources=requirements(*(user.compile.resources for user in users)),
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """The buckets' names."""
        return tuple(naming.bucket_key(bucket.model_dump(by_alias=True)) for bucket in self.buckets)


def _order(bucket: Bucket) -> tuple[int, ...]:
    return bucket.width * bucket.height, bucket.width, bucket.batch, bucket.prompt_tokens


def compile_job(bank: Mapping[str, Any], profile: ProfileSpec, demand: Demand, model: Mapping[str, Any]) -> Object:
    """The Job that compiles and measures every bucket in demand; buckets that are there already cost it nothing."""
    name, spec = bank["metadata"]["name"], bank["spec"]
    volumes, mounts = claim_mounts(
        [
            (claim_name(model["spec"].get("volume") or {}, spec["model"]["name"]), MODELS_PATH, True),
            (claim_name(spec.get("volume") or {}, naming.whole_bank(bank)), "/bank", False),
        ]
    )
    container = compile_container(name, spec, profile, demand.buckets, model["status"]["digest"])
    if demand.disputed:
        container["env"] = [*container["env"], *environment({"SDXL_BANK_DISPUTED": ",".join(demand.disputed)})]
    container |= {"ports": PORTS[1:], "resources": demand.resources, "volumeMounts": mounts}
    pod = on_accelerator(pod_spec(container, volumes, "Never"), profile, spec["acceleratorCount"])
    if spec.get("nodeClass"):
        pod["affinity"] = on_nodes(spec["nodeClass"])
    if demand.pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in demand.pull_secrets]
    return job.build(bank, naming.BANK_LABEL, "compile", pod, demand.deadline_seconds, demand.again)


def compile_container(
    name: str, spec: Mapping[str, Any], profile: ProfileSpec, buckets: Sequence[Bucket], digest: str
) -> Object:
    """The container that compiles into the bank of this name and spec; `digest` is the model's."""
    return {
        "name": COMPILE_CONTAINER,
        "image": spec["image"],
        "imagePullPolicy": profile.image_pull_policy,
        "args": ["compile"],
        "env": environment(
            {
                "SDXL_BACKEND": profile.backend.value,
                "SDXL_MODEL_PATH": model_path(spec["model"]["source"], spec["model"]["name"]),
                "SDXL_MODEL_VARIANT": spec["model"].get("variant", ""),
                "SDXL_MODEL_DIGEST": digest,
                "SDXL_BUCKETS": buckets_json(buckets),
                "SDXL_PRECISION": spec["precision"],
                "SDXL_COMPILE_MODE": spec["compile"]["mode"],
                "SDXL_MINIMUM_SPEEDUP_PERCENT": spec["compile"]["minimumSpeedupPercent"],
                **bank_environment(name, spec),
                "SDXL_INTERNAL_PORT": INTERNAL_PORT,
            }
        ),
    }


def accepted(
    bank: Mapping[str, Any],
    identity: str,
    entries: Iterable[Mapping[str, Any]],
    others: Mapping[str, Iterable[Mapping[str, Any]]] | None = None,
) -> Object:
    """The ConfigMap by which serving pods know the digests they may load; `others` are entries by further identity."""
    name = bank["metadata"]["name"]
    data: Object = {"identity": identity, "digests": _kept(entries)}
    if others:
        data["others"] = {other: _kept(theirs) for other, theirs in others.items()}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{name}-accepted",
            "namespace": bank["metadata"]["namespace"],
            "labels": {**naming.labels("bank", name), naming.BANK_LABEL: name},
            "ownerReferences": [naming.owner_reference(bank)],
        },
        "data": {ACCEPTED_FILE: json.dumps(data, sort_keys=True)},
    }


def _kept(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {entry["key"]: entry["digest"] for entry in entries if entry["state"] == "Kept"}
