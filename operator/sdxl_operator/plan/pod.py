"""How every pod of the runtime is made: hardened, with writable scratch space, on the accelerator of its profile."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sdxl_operator.api.profile import HostMount, ProfileSpec
from sdxl_operator.api.resource import Requirements
from sdxl_operator.api.service import Bucket
from sdxl_operator.naming import PROMPT_TOKENS, Object

USER_ID = 1000
"""HwHiAiUser on Ascend hosts and in CANN's images; the runtime images' user everywhere."""

INTERNAL_PORT = 8001
PUBLIC_PORT = 8000

OWNER_AND_GROUP_READ = 0o440
"""The pod's fsGroup is the group of a Secret's files, so that is how the runtime reads them."""

PORTS: list[Object] = [
    {"name": "http", "containerPort": PUBLIC_PORT, "protocol": "TCP"},
    {"name": "internal", "containerPort": INTERNAL_PORT, "protocol": "TCP"},
]


def environment(values: Mapping[str, object]) -> list[Object]:
    """Environment variables in the order given."""
    return [{"name": name, "value": str(value)} for name, value in values.items()]


def buckets_json(buckets: Iterable[Bucket]) -> str:
    """The value of SDXL_BUCKETS."""
    return json.dumps([_bucket(bucket) for bucket in buckets], separators=(",", ":"))


def _bucket(bucket: Bucket) -> Object:
    item: Object = bucket.model_dump(mode="json", by_alias=True)
    return {name: value for name, value in item.items() if (name, value) != ("promptTokens", PROMPT_TOKENS)}


def claim_mounts(mounts: Iterable[tuple[str, str, bool]]) -> tuple[list[Object], list[Object]]:
    """Volumes and mounts for `(claim, path, read only)`; a claim that is mounted twice is one volume."""
    volumes: dict[str, Object] = {}
    container: list[Object] = []
    for claim, path, read_only in mounts:
        volume = volumes.setdefault(
            claim, {"name": f"claim-{len(volumes)}", "persistentVolumeClaim": {"claimName": claim}}
        )
        container.append({"name": volume["name"], "mountPath": path, "readOnly": read_only})
    return list(volumes.values()), container


def pod_spec(container: Object, volumes: list[Object], restart_policy: str, before: tuple[Object, ...] = ()) -> Object:
    """A pod that may do nothing but its work: no root, no capabilities, no API token, a read-only root file system.

    Containers of `before` run to their end first, one after the other.
    """
    scratch: list[Object] = [
        {"name": "tmp", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ]
    return {
        "restartPolicy": restart_policy,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            # OnRootMismatch: a recursive chmod breaks caches that must keep mode 0600, and takes long on large volumes
            "fsGroup": USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **({"initContainers": [_hardened(each) for each in before]} if before else {}),
        "containers": [_hardened(container)],
        "volumes": [*volumes, *scratch],
    }


def _hardened(container: Object) -> Object:
    mounts: list[Object] = [{"name": "tmp", "mountPath": "/tmp"}, {"name": "shm", "mountPath": "/dev/shm"}]
    return {
        **container,
        "env": [*container["env"], {"name": "HOME", "value": "/tmp"}],
        "volumeMounts": [*container.get("volumeMounts", []), *mounts],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def on_accelerator(spec: Object, profile: ProfileSpec, count: int) -> Object:
    """The pod with what its profile says: resource, runtime class, scheduler, nodes, host mounts, environment."""
    host_volumes = [_host_volume(index, mount) for index, mount in enumerate(profile.host_mounts)]
    optional: Object = {
        "runtimeClassName": profile.runtime_class_name,
        "schedulerName": profile.scheduler_name,
        "nodeSelector": dict(profile.node_selector),
        "tolerations": [
            {key: value for key, value in item.model_dump(by_alias=True, mode="json").items() if value}
            for item in profile.tolerations
        ],
    }
    return {
        **spec,
        **{name: value for name, value in optional.items() if value},
        **{
            part: [_with_accelerator(container, profile, count) for container in spec[part]]
            for part in ("initContainers", "containers")
            if part in spec
        },
        "volumes": [*spec["volumes"], *host_volumes],
    }


def on_nodes(labels: Mapping[str, str]) -> Object:
    """A pod's affinity to the nodes with these labels; an empty value stands for a label that they lack."""
    terms = [
        {"key": key, "operator": "In", "values": [value]} if value else {"key": key, "operator": "DoesNotExist"}
        for key, value in sorted(labels.items())
    ]
    chosen = {"nodeSelectorTerms": [{"matchExpressions": terms}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": chosen}}


def beside_accelerator(spec: Object, profile: ProfileSpec) -> Object:
    """The pod on the profile's nodes, with its environment: where a volume and a driver are, but without a card."""
    without_card: Object = {"resource": None, "host_mounts": [], "runtime_class_name": "", "scheduler_name": ""}
    return on_accelerator(spec, profile.model_copy(update=without_card), 1)


def requirements(*candidates: Requirements) -> Object:
    """The first requirements that say anything, as a container's `resources`."""
    for candidate in candidates:
        resources: Object = candidate.model_dump(by_alias=True, exclude_none=True, mode="json")
        if resources:
            return {part: {name: str(value) for name, value in values.items()} for part, values in resources.items()}
    return {}


def _with_accelerator(container: Object, profile: ProfileSpec, count: int) -> Object:
    variables = [*_profile_environment(profile), *container["env"]]
    return {
        **container,
        "resources": _resources(container.get("resources", {}), profile, count),
        # the last of a name wins; the API server takes each name once
        "env": list({item["name"]: item for item in variables}.values()),
        "volumeMounts": [
            *container["volumeMounts"],
            *(
                {"name": f"host-{index}", "mountPath": mount.host_path, "readOnly": mount.read_only}
                for index, mount in enumerate(profile.host_mounts)
            ),
        ],
    }


def _resources(resources: Mapping[str, Any], profile: ProfileSpec, count: int) -> Object:
    if profile.resource is None:
        return dict(resources)
    amount = {profile.resource.name: str(profile.resource.count * count)}
    return {part: {**resources.get(part, {}), **amount} for part in ("requests", "limits")}


def _profile_environment(profile: ProfileSpec) -> list[Object]:
    return [
        {"name": item.name, "valueFrom": {"fieldRef": {"fieldPath": item.field_ref.field_path}}}
        if item.field_ref
        else {"name": item.name, "value": item.value or ""}
        for item in profile.environment
    ]


def _host_volume(index: int, mount: HostMount) -> Object:
    return {"name": f"host-{index}", "hostPath": {"path": mount.host_path, "type": mount.type}}
