"""The Job that imports a bank from a registry instead of compiling it: it needs no card."""

from collections.abc import Mapping, Sequence
from typing import Any

from sdxl_operator import naming
from sdxl_operator.api.profile import ProfileSpec
from sdxl_operator.naming import Object
from sdxl_operator.plan import job
from sdxl_operator.plan.bank import Demand
from sdxl_operator.plan.bank_environment import bank_environment
from sdxl_operator.plan.pod import (
    INTERNAL_PORT,
    PORTS,
    beside_accelerator,
    buckets_json,
    claim_mounts,
    environment,
    pod_spec,
)
from sdxl_operator.plan.weights import claim_name

CREDENTIALS_PATH = "/etc/sdxl/registry"
PLAIN = "http://"
SMALL = {"requests": {"cpu": "100m", "memory": "512Mi"}}
"""What an import gets where nobody says: it copies and hashes."""


def allowed_by(source: str, registries: Sequence[str]) -> str | None:
    """The entry of a profile's bankRegistries that lets banks come from a source, None where none does."""
    host, _, path = source.removeprefix("oci://").partition("@")[0].partition("/")
    repository = f"{host}/{path.partition(':')[0]}"
    for registry in registries:
        prefix = registry.removeprefix(PLAIN)
        if repository == prefix or repository.startswith(f"{prefix}/"):
            return registry
    return None


def import_job(bank: Mapping[str, Any], profile: ProfileSpec, demand: Demand, model: Mapping[str, Any]) -> Object:
    """The Job that brings the artefact of `bank.spec.from` and tells which of the declared buckets it has."""
    name, spec = bank["metadata"]["name"], bank["spec"]
    volumes, mounts = claim_mounts([(claim_name(spec.get("volume") or {}, name), "/bank", False)])
    if demand.pull_secrets:
        volumes.append(_credentials(demand.pull_secrets))
        mounts.append({"name": "registry", "mountPath": CREDENTIALS_PATH, "readOnly": True})
    container: Object = {
        "name": "import",
        "image": spec["image"],
        "imagePullPolicy": profile.image_pull_policy,
        "args": ["bank", "import"],
        "ports": PORTS[1:],
        "env": environment(_settings(bank, profile, demand, model)),
        "resources": demand.import_resources or SMALL,
        "volumeMounts": mounts,
    }
    pod = beside_accelerator(pod_spec(container, volumes, "Never"), profile)
    if demand.pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in demand.pull_secrets]
    return job.build(bank, naming.BANK_LABEL, "import", pod, demand.deadline_seconds, demand.again)


def _settings(bank: Mapping[str, Any], profile: ProfileSpec, demand: Demand, model: Mapping[str, Any]) -> Object:
    spec = bank["spec"]
    settings: Object = {
        "SDXL_BACKEND": profile.backend.value,
        "SDXL_MODEL_VARIANT": spec["model"].get("variant", ""),
        "SDXL_MODEL_DIGEST": model["status"]["digest"],
        "SDXL_BUCKETS": buckets_json(demand.buckets),
        "SDXL_PRECISION": spec["precision"],
        "SDXL_COMPILE_MODE": spec["compile"]["mode"],
        "SDXL_MINIMUM_SPEEDUP_PERCENT": spec["compile"]["minimumSpeedupPercent"],
        **bank_environment(bank["metadata"]["name"], spec),
        "SDXL_BANK_FROM": spec["from"],
        "SDXL_INTERNAL_PORT": INTERNAL_PORT,
    }
    if profile.bank_public_key:
        settings["SDXL_BANK_PUBLIC_KEY"] = profile.bank_public_key
    if demand.pull_secrets:
        settings["SDXL_REGISTRY_CONFIG"] = CREDENTIALS_PATH
    if (allowed_by(spec["from"], profile.bank_registries) or "").startswith(PLAIN):
        settings["SDXL_REGISTRY_PLAIN_HTTP"] = "true"
    return settings


def _credentials(secrets: Sequence[str]) -> Object:
    """Every pull Secret as a file; one that is missing or of the older kind is left out, as the kubelet does."""
    key = ".dockerconfigjson"
    sources = [
        {"secret": {"name": name, "items": [{"key": key, "path": f"{name}.json"}], "optional": True}}
        for name in secrets
    ]
    return {"name": "registry", "projected": {"defaultMode": 0o440, "sources": sources}}
