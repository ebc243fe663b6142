"""What all custom resources have in common: how their models read, and what a kind is to the API server."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Part(BaseModel):
    """A part of a custom resource. The docstring under a field is its description in the CRD."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, use_attribute_docstrings=True
    )


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules, each `(expression, what to do)`, for a model's or a field's `json_schema_extra`."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def list_map(*keys: str) -> dict[str, Any]:
    """A list of objects that server-side apply merges by these keys, and that refuses a key twice."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


LIST_SET = {"x-kubernetes-list-type": "set"}
"""A list of scalars that refuses a value twice."""

Quantity = Annotated[int | str, Field(json_schema_extra={"x-kubernetes-int-or-string": True})]
"""A Kubernetes quantity, e.g. `2`, `500m`, `8Gi`."""

DnsName = Annotated[str, Field(max_length=253, min_length=1)]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Retention(StrEnum):
    """What happens to a model or a bank that no service uses any more."""

    RETAIN = "Retain"
    DELETE = "Delete"


class Volume(Part):
    """A volume: an existing claim, or one to be made."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.claimName) || (!has(self.size) && !has(self.storageClassName) && !has(self.accessModes))",
                "claimName names an existing claim: leave out size, storageClassName and accessModes, or claimName",
            )
        )
    )

    claim_name: DnsName | None = None
    """An existing PersistentVolumeClaim of this namespace."""
    size: Quantity | None = None
    """The size of a claim to be made; 20Gi where nothing is said."""
    storage_class_name: Annotated[str, Field(max_length=253)] | None = None
    """The storage class of a claim to be made; the cluster's default where nothing is said."""
    access_modes: (
        Annotated[
            list[Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]],
            Field(min_length=1, max_length=3, json_schema_extra=LIST_SET),
        ]
        | None
    ) = None
    """The access modes of a claim to be made; ReadWriteMany where nothing is said, since all replicas mount it."""


def bank_source() -> Any:
    """An artefact in a registry by its digest: what a tag names today is not what a replica measured yesterday."""
    part = "[a-z0-9]+([._-]+[a-z0-9]+)*"
    name = f"oci://[A-Za-z0-9][-A-Za-z0-9.]*(:[0-9]+)?/{part}(/{part})*(:[A-Za-z0-9_][-A-Za-z0-9._]*)?"
    rule = f"self.matches('^{name}@sha256:[0-9a-f]{{64}}$')"
    message = "from names an artefact by its digest: oci://<host>/<repository>@sha256:<64 hex digits>"
    return Field(max_length=512, json_schema_extra=rules((rule, message)))


class Requirements(Part):
    """Requests and limits of a container. The accelerator is not asked for here: the profile does."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *(
                (
                    f"!has(self.{part}) || self.{part}.all(name, name in ['cpu', 'memory', 'ephemeral-storage'])",
                    f"{part} may name cpu, memory and ephemeral-storage; accelerators come from spec.accelerator",
                )
                for part in ("requests", "limits")
            )
        )
    )

    requests: Annotated[dict[str, Quantity], Field(json_schema_extra={"maxProperties": 3})] | None = None
    """What the scheduler sets aside."""
    limits: Annotated[dict[str, Quantity], Field(json_schema_extra={"maxProperties": 3})] | None = None
    """What the container may use at most."""


class ConditionStatus(Part):
    """One condition, as in metav1."""

    type: Annotated[str, Field(max_length=316)]
    """What it is about."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(max_length=1024, min_length=1)]
    """One word for machines; docs/operations.md has a sentence for each."""
    message: Annotated[str, Field(max_length=32768)]
    """A sentence for people, in the words of the component that failed."""
    last_transition_time: Time
    """When status last changed."""
    observed_generation: int | None = None
    """The generation it was judged by."""


class Failure(Part):
    """The last failure of something that ran for this object."""

    reason: str
    """One word, as in the conditions."""
    message: str
    """A sentence, in the component's own words."""
    component: str
    """What failed: fetch, compile or server."""
    exit_code: int | None = None
    """The container's exit code."""
    time: Time
    """When it ended."""


Conditions = Annotated[list[ConditionStatus], Field(max_length=16, json_schema_extra=list_map("type"))]


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column of `kubectl get`."""

    name: str
    type: str
    json_path: str
    description: str
    priority: int = 0


@dataclass(frozen=True, slots=True)
class KindDefinition:
    """One kind, as the CRD declares it."""

    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    namespaced: bool
    description: str
    spec: type[Part]
    status: type[Part] | None
    columns: tuple[Column, ...]
    scale: bool = False
    name_rule: tuple[str, str] | None = None
    """A CEL rule on the whole object for `metadata.name`, and what to do."""


READY_COLUMNS = (
    Column(
        "Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether all that was asked for is there"
    ),
    Column("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why, or what it waits for"),
)
AGE_COLUMN = Column("Age", "date", ".metadata.creationTimestamp", "Time since it was made")
