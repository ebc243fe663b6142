"""The SDXLModels of a service, and the fetch Job of a model."""

from collections.abc import Mapping, Sequence
from typing import Any

from sdxl_operator import naming
from sdxl_operator.api.weights import ModelContent
from sdxl_operator.naming import Object
from sdxl_operator.plan import job
from sdxl_operator.plan.pod import INTERNAL_PORT, PORTS, claim_mounts, environment, pod_spec
from sdxl_operator.plan.weights import MODELS_PATH, Weights, claim_name, model_path


def build(namespace: str, weights: Weights) -> Object:
    """The SDXLModel that a service names; owned by nobody, because it may outlive the service."""
    name = weights.name
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.MODEL,
        "metadata": {"name": name, "namespace": namespace, "labels": naming.labels("model", name)},
        "spec": weights.spec,
    }


def fetch_job(model: Mapping[str, Any], image: str, image_pull_policy: str, pull_secrets: Sequence[str] = ()) -> Object:
    """The Job that brings the files onto the volume, or checks those of a pvc:// source, and measures their digest."""
    name, spec = model["metadata"]["name"], model["spec"]
    in_place = spec["source"].startswith("pvc://")
    volumes, mounts = claim_mounts([(claim_name(spec.get("volume") or {}, name), MODELS_PATH, in_place)])
    container: Object = {
        "name": "fetch",
        "image": image,
        "imagePullPolicy": image_pull_policy,
        "args": ["fetch"],
        "ports": PORTS[1:],
        "env": environment(
            {
                "SDXL_MODEL_SOURCE": spec["source"],
                "SDXL_MODEL_VARIANT": spec.get("variant", ""),
                "SDXL_MODEL_CONTENT": spec.get("content") or ModelContent.PIPELINE.value,
                "SDXL_MODEL_PATH": model_path(spec["source"], name),
                "SDXL_INTERNAL_PORT": INTERNAL_PORT,
            }
        ),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "volumeMounts": mounts,
    }
    pod = pod_spec(container, volumes, "Never")
    if pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in pull_secrets]
    return job.build(model, naming.MODEL_LABEL, "fetch", pod, None)
