"""Names and nothing else: keys, references, labels, child names, condition types, and each reason with a sentence."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from sdxl_operator.naming.reasons import REASONS, Condition, Reason

__all__ = [
    "API_VERSION",
    "BANK",
    "BANK_LABEL",
    "COMPONENT",
    "FIELD_MANAGER",
    "GROUP",
    "INSTANCE",
    "MANAGED",
    "MANAGED_BY",
    "MODEL",
    "MODEL_LABEL",
    "NAME",
    "PAUSED_ANNOTATION",
    "PROFILE",
    "PROFILES_FIELD_MANAGER",
    "PROMPT_TOKENS",
    "REASONS",
    "REVISION_LABEL",
    "SERVICE",
    "SERVICE_LABEL",
    "USES_BANK_LABEL",
    "VERSION",
    "WHOLE_BANK_LABEL",
    "Condition",
    "Key",
    "ModelUse",
    "Reason",
    "Ref",
    "bank_name",
    "bucket_key",
    "digest",
    "is_paused",
    "keys_of",
    "labels",
    "model_name",
    "model_uses",
    "owner_reference",
    "ref_of",
    "slug",
    "uses_model_label",
    "whole_bank",
]

Object = dict[str, Any]
"""A Kubernetes object as JSON."""

GROUP = "sdxl.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FIELD_MANAGER = "sdxl-operator"
PROFILES_FIELD_MANAGER = "sdxl-operator-profiles"

SERVICE = "SDXLService"
MODEL = "SDXLModel"
BANK = "SDXLTuneBank"
PROFILE = "AcceleratorProfile"

MANAGED_BY = "app.kubernetes.io/managed-by"
NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"

SERVICE_LABEL = f"{GROUP}/service"
MODEL_LABEL = f"{GROUP}/model"
BANK_LABEL = f"{GROUP}/bank"
REVISION_LABEL = f"{GROUP}/revision"

WHOLE_BANK_LABEL = f"{GROUP}/whole-bank"
"""On the bank of one node class: the bank that it is a part of, which holds the volume and is what services use."""

USES_BANK_LABEL = f"{GROUP}/uses-bank"
"""On a Deployment: the bank that its pods mount, and so what must not be deleted."""

PROMPT_TOKENS = 77
"""The tokens of a bucket's longest prompt where nothing else is said; a bucket's name says only another number."""

PAUSED_ANNOTATION = f"{GROUP}/paused"
"""On an SDXLService, with the value `true`: nothing is applied for it."""

MANAGED = {MANAGED_BY: FIELD_MANAGER}
"""The labels by which the watch selects what the operator made."""


class Key(NamedTuple):
    """What one turn of the work queue is about."""

    kind: str
    namespace: str
    name: str


class Ref(NamedTuple):
    """Where an object lives; the namespace is empty for cluster-scoped kinds."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> "Ref":
        """The place of an object."""
        metadata = obj["metadata"]
        return cls(obj["apiVersion"], obj["kind"], metadata.get("namespace", ""), metadata["name"])


def ref_of(key: Key) -> Ref:
    """The custom resource that a key names."""
    return Ref(API_VERSION, key.kind, key.namespace, key.name)


def keys_of(obj: Mapping[str, Any]) -> tuple[Key, ...]:
    """The keys that an object's event is about: itself, or by its labels the resources it was made for."""
    metadata = obj.get("metadata", {})
    namespace = metadata.get("namespace", "")
    if obj.get("apiVersion") == API_VERSION:
        return (Key(obj["kind"], namespace, metadata["name"]),)
    labels = metadata.get("labels") or {}
    owners = ((SERVICE, SERVICE_LABEL), (MODEL, MODEL_LABEL), (BANK, BANK_LABEL))
    return tuple(Key(kind, namespace, labels[label]) for kind, label in owners if label in labels)


def is_paused(service: Mapping[str, Any]) -> bool:
    """Whether somebody asked that nothing be applied for this service."""
    return (service["metadata"].get("annotations") or {}).get(PAUSED_ANNOTATION) == "true"


def uses_model_label(model: str) -> str:
    """The label, with the value `true`, of a Deployment whose pods mount this SDXLModel: one for each of several."""
    return f"uses-model.{GROUP}/{model}"


def digest(value: Any, length: int = 10) -> str:
    """The first hex digits of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def slug(text: str, length: int) -> str:
    """A DNS label's worth of a text, for names that a person reads."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:length].strip("-") or "x"


class ModelUse(NamedTuple):
    """An SDXLModel that a service uses, and as what."""

    role: str
    """`model`, `refiner`, or `adapters/<adapter's name>`."""
    name: str
    """The SDXLModel's."""

    @property
    def words(self) -> str:
        """How a message calls it: the model, the refiner, the adapter pixel."""
        return f"the {self.role.replace('adapters/', 'adapter ')}"


def model_uses(status: Mapping[str, Any]) -> tuple[ModelUse, ...]:
    """The SDXLModels that a service's status names."""
    single = (ModelUse(role, str(status[role])) for role in ("model", "refiner") if status.get(role))
    adapters = status.get("adapters") or []
    return (*single, *(ModelUse(f"adapters/{item['name']}", str(item["model"])) for item in adapters))


def model_name(identity: Mapping[str, Any]) -> str:
    """The name of the SDXLModel that holds one source on one volume; `identity` is its spec."""
    return f"{slug(str(identity['source']).replace('://', '-'), 40)}-{digest(identity)}"


def bank_name(identity: Mapping[str, Any]) -> str:
    """The name of the SDXLTuneBank for what is known without running a container; `identity` is its spec."""
    return f"{slug(identity['profile'], 24)}-{slug(str(identity['precision']), 8)}-{digest(identity)}"


def whole_bank(bank: Mapping[str, Any]) -> str:
    """The name of the bank that services use and that holds the volume: its own, but for that of one node class."""
    return str((bank["metadata"].get("labels") or {}).get(WHOLE_BANK_LABEL) or bank["metadata"]["name"])


def bucket_key(bucket: Mapping[str, int]) -> str:
    """A bucket's name in status, paths and metrics, e.g. `1024x1024b4`, `1024x1024b1t154`; `bucket` is its JSON."""
    tokens = bucket.get("promptTokens", PROMPT_TOKENS)
    suffix = "" if tokens == PROMPT_TOKENS else f"t{tokens}"
    return f"{bucket['width']}x{bucket['height']}b{bucket.get('batch', 1)}{suffix}"


def labels(component: str, instance: str) -> dict[str, str]:
    """The recommended labels of everything the operator makes."""
    return {NAME: "sdxl", COMPONENT: component, INSTANCE: instance, **MANAGED}


def owner_reference(owner: Mapping[str, Any]) -> Object:
    """A controlling owner reference: deleting the owner removes the child, and no finalizer is needed."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
