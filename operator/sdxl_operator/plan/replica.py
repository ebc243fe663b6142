"""The pod template of a replica: what a revision freezes."""

import json

from sdxl_operator import naming
from sdxl_operator.naming import Object
from sdxl_operator.plan import bank as plan_bank
from sdxl_operator.plan import mounts, signing
from sdxl_operator.plan.bank_environment import bank_environment
from sdxl_operator.plan.pod import (
    INTERNAL_PORT,
    PORTS,
    PUBLIC_PORT,
    buckets_json,
    environment,
    on_accelerator,
    pod_spec,
    requirements,
)
from sdxl_operator.plan.resolved import Resolved

ENDPOINT_REMOVAL_SECONDS = 5
"""`preStop` sleeps this long: endpoints and proxies have forgotten the pod by then, so no new request arrives."""

PROBE_SECONDS = 5

COMPILED_FILE = f"{mounts.COMPILED_PATH}/accepted.json"

ADVERTISED_HOST: Object = {"name": "SDXL_ADVERTISED_HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
"""Where the service's other replicas reach this one's internal port."""


def template(service: Resolved, model_digest: str, compiles: bool = False) -> Object:
    """The pod template; `model_digest` is what the fetch Job measured.

    With `compiles` a replica fills the bank before it serves, on its own accelerator.
    """
    spec, profile = service.spec, service.profile
    volumes, mounted = mounts.of_replica(service)
    before: tuple[Object, ...] = ()
    settings = _settings(service, model_digest)
    if compiles and service.bank is not None and not service.bank.get("from"):
        before = (_compile_container(service, model_digest, mounted),)
        volumes = [*map(_not_needed_yet, volumes), {"name": "compiled", "emptyDir": {}}]
        mounted = [*mounted, {"name": "compiled", "mountPath": mounts.COMPILED_PATH, "readOnly": True}]
        settings["SDXL_BANK_COMPILED"] = COMPILED_FILE
    container: Object = {
        "name": "server",
        "image": profile.image,
        "imagePullPolicy": profile.image_pull_policy,
        "args": ["serve"],
        "ports": PORTS,
        "env": [
            *({"name": item.name, "value": item.value} for item in spec.server.env),
            *environment(settings),
            ADVERTISED_HOST,
        ],
        "resources": requirements(spec.server.resources),
        "volumeMounts": mounted,
        "lifecycle": {"preStop": {"sleep": {"seconds": ENDPOINT_REMOVAL_SECONDS}}},
        **_probes(profile.startup_budget_seconds),
    }
    pod = on_accelerator(pod_spec(container, volumes, "Always", before), profile, spec.accelerator.count)
    # 30 s beyond the drain: preStop's sleep, kept connections that are ended, and the process's own way out
    pod["terminationGracePeriodSeconds"] = spec.rollout.drain_timeout_seconds + 30
    if spec.server.topology_spread:
        pod["topologySpreadConstraints"] = _spread(service)
    if spec.server.priority_class_name:
        pod["priorityClassName"] = spec.server.priority_class_name
    if spec.server.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret.name} for secret in spec.server.image_pull_secrets]
    return {"metadata": _metadata(service), "spec": pod}


def _not_needed_yet(volume: Object) -> Object:
    """A volume of accepted digests may be empty at first: what it will name, the pod's own init container makes."""
    source = volume.get("configMap")
    return volume if source is None else {**volume, "configMap": {**source, "optional": True}}


def _compile_container(service: Resolved, model_digest: str, mounted: list[Object]) -> Object:
    spec = service.spec
    assert service.bank is not None
    assert service.bank_name is not None
    container = plan_bank.compile_container(
        service.bank_name, service.bank, service.profile, spec.buckets, model_digest
    )
    return {
        **container,
        "env": [*container["env"], *environment({"SDXL_BANK_COMPILED": COMPILED_FILE})],
        "resources": requirements(spec.compile.resources, spec.server.resources),
        "volumeMounts": mounts.of_init_container(service, mounted),
    }


def _metadata(service: Resolved) -> Object:
    labels = {
        **service.spec.server.labels,
        **service.profile.pod_labels,
        **naming.labels("server", service.name),
        naming.SERVICE_LABEL: service.name,
    }
    annotations = {**service.spec.server.annotations, **service.profile.pod_annotations}
    return {"labels": labels, **({"annotations": annotations} if annotations else {})}


def _settings(service: Resolved, model_digest: str) -> dict[str, object]:
    spec = service.spec
    settings: dict[str, object] = {
        "SDXL_BACKEND": service.profile.backend.value,
        "SDXL_MODEL_NAME": service.name,
        "SDXL_MODEL_PATH": service.model.path,
        "SDXL_MODEL_VARIANT": spec.model.variant,
        "SDXL_MODEL_DIGEST": model_digest,
        "SDXL_BUCKETS": buckets_json(spec.buckets),
        "SDXL_PRECISION": spec.precision.value,
        "SDXL_COMPILE_MODE": service.compile_mode,
        "SDXL_QUEUE_LIMIT_SECONDS": spec.server.queue_limit_seconds,
        "SDXL_REQUEST_TIMEOUT_SECONDS": spec.server.request_timeout_seconds,
        "SDXL_DRAIN_TIMEOUT_SECONDS": spec.rollout.drain_timeout_seconds,
        "SDXL_RECYCLE_AFTER_REQUESTS": spec.server.recycle_after_requests,
        "SDXL_LOG_PROMPTS": str(spec.server.log_prompts).lower(),
        "SDXL_DEFAULT_STEPS": spec.server.defaults.num_inference_steps,
        "SDXL_DEFAULT_GUIDANCE_SCALE": spec.server.defaults.guidance_scale,
        "SDXL_DEFAULT_SCHEDULER": spec.server.defaults.scheduler.value,
        "SDXL_PICTURE_CHECK": spec.rollout.picture_check,
        "SDXL_PORT": PUBLIC_PORT,
        "SDXL_INTERNAL_PORT": INTERNAL_PORT,
        "SDXL_SIGNING_KEY_PATH": f"{mounts.SIGNING_PATH}/{signing.KEY_FILE}",
    }
    if service.bank_name is not None and service.bank is not None:
        settings |= bank_environment(service.bank_name, service.bank)
        settings["SDXL_BANK_ACCEPTED"] = f"{mounts.ACCEPTED_PATH}/accepted.json"
    if spec.auth.api_keys_secret_ref is not None:
        settings["SDXL_API_KEYS_PATH"] = mounts.KEYS_PATH
    return settings | _further_weights(service)


def _further_weights(service: Resolved) -> dict[str, object]:
    """What the runtime reads about the adapters and the refiner, where there are any."""
    settings: dict[str, object] = {}
    if service.adapters:
        pairs = zip(service.spec.model.adapters, service.adapters, strict=True)
        items = [{"name": a.name, "path": files.path, "maximumRank": a.maximum_rank} for a, files in pairs]
        settings["SDXL_ADAPTERS"] = json.dumps(items, separators=(",", ":"))
    refiner = service.spec.model.refiner
    if refiner is not None and service.refiner is not None:
        settings |= {
            "SDXL_REFINER_PATH": service.refiner.path,
            "SDXL_REFINER_VARIANT": refiner.variant,
            "SDXL_REFINER_START_PERCENT": refiner.start_at_percent,
        }
    return settings


def _spread(service: Resolved) -> list[Object]:
    return [
        {
            **item.model_dump(by_alias=True, mode="json"),
            "labelSelector": {"matchLabels": {naming.SERVICE_LABEL: service.name}},
            # the replicas of another revision are on their way out: where they run says nothing
            "matchLabelKeys": ["pod-template-hash"],
        }
        for item in service.spec.server.topology_spread
    ]


def _probes(startup_budget_seconds: int) -> Object:
    def get(path: str) -> Object:
        return {"path": path, "port": "internal"}

    return {
        "startupProbe": {
            "httpGet": get("/readyz"),
            "periodSeconds": PROBE_SECONDS,
            "timeoutSeconds": 2,
            "failureThreshold": -(-startup_budget_seconds // PROBE_SECONDS),
        },
        "readinessProbe": {
            "httpGet": get("/readyz"),
            "periodSeconds": PROBE_SECONDS,
            "timeoutSeconds": 2,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            "httpGet": get("/healthz"),
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
    }
