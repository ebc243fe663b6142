"""The SDXLModels of a service, and the fetch Job of a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sdxl_operator import naming
from sdxl_operator.api.service import ServiceSpec
from sdxl_operator.api.weights import ModelContent
from sdxl_operator.naming import Object
from sdxl_operator.plan import job
from sdxl_operator.plan.pod import (
    INTERNAL_PORT,
    OWNER_AND_GROUP_READ,
    PORTS,
    claim_mounts,
    environment,
    pod_spec,
)
from sdxl_operator.plan.weights import MODELS_PATH, Weights, claim_name, model_path, of_spec

TOKENS_PATH = "/etc/sdxl/hub-tokens"


def build(namespace: str, weights: Weights) -> Object:
    """The SDXLModel that a service names; owned by nobody, because it may outlive the service."""
    name = weights.name
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.MODEL,
        "metadata": {"name": name, "namespace": namespace, "labels": naming.labels("model", name)},
        "spec": weights.spec,
    }


@dataclass(frozen=True, slots=True)
class Demand:
    """What the services that use a model give its fetch Job."""

    tokens: tuple[tuple[str, str], ...] = ()
    """The Secret and the key of each token, sorted; the Job tries one after the other."""
    pull_secrets: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: str, users: Sequence[ServiceSpec]) -> "Demand":
        """The union of what the users of the SDXLModel of this name say."""
        tokens = {item.token for user in users for item in of_spec(user) if item.name == model and item.token}
        return cls(
            tokens=tuple(sorted((token.name, token.key) for token in tokens)),
            pull_secrets=tuple(sorted({secret.name for user in users for secret in user.server.image_pull_secrets})),
        )


NO_DEMAND = Demand()


def fetch_job(
    model: Mapping[str, Any],
    image: str,
    image_pull_policy: str,
    demand: Demand = NO_DEMAND,
    variables: Mapping[str, str] | None = None,
) -> Object:
    """The Job that brings the files onto the volume, or checks those of a pvc:// source, and measures their digest.

    `variables` are the admin's, e.g. a proxy or a mirror.
    """
    name, spec = model["metadata"]["name"], model["spec"]
    in_place = spec["source"].startswith("pvc://")
    volumes, mounts = claim_mounts([(claim_name(spec.get("volume") or {}, name), MODELS_PATH, in_place)])
    settings: dict[str, object] = {**(variables or {}), **_settings(spec, name)}
    if demand.tokens:
        volumes.append(_tokens(demand))
        mounts.append({"name": "hub-tokens", "mountPath": TOKENS_PATH, "readOnly": True})
        settings["SDXL_MODEL_TOKEN_PATH"] = TOKENS_PATH
    container: Object = {
        "name": "fetch",
        "image": image,
        "imagePullPolicy": image_pull_policy,
        "args": ["fetch"],
        "ports": PORTS[1:],
        "env": environment(settings),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "volumeMounts": mounts,
    }
    pod = pod_spec(container, volumes, "Never")
    if demand.pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in demand.pull_secrets]
    return job.build(model, naming.MODEL_LABEL, "fetch", pod, None)


def _settings(spec: Mapping[str, Any], name: str) -> dict[str, object]:
    return {
        "SDXL_MODEL_SOURCE": spec["source"],
        **({"SDXL_MODEL_REVISION": spec["revision"]} if spec.get("revision") else {}),
        "SDXL_MODEL_VARIANT": spec.get("variant", ""),
        "SDXL_MODEL_CONTENT": spec.get("content") or ModelContent.PIPELINE.value,
        "SDXL_MODEL_PATH": model_path(spec["source"], name),
        "SDXL_INTERNAL_PORT": INTERNAL_PORT,
    }


def _tokens(demand: Demand) -> Object:
    """Each token is a file; of several, one that is missing is no reason to wait."""
    several = {"optional": True} if len(demand.tokens) > 1 else {}
    sources = [
        {"secret": {"name": secret, "items": [{"key": key, "path": f"{index:02}"}], **several}}
        for index, (secret, key) in enumerate(demand.tokens)
    ]
    return {"name": "hub-tokens", "projected": {"defaultMode": OWNER_AND_GROUP_READ, "sources": sources}}
