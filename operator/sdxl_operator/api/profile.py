"""`AcceleratorProfile`: one family of accelerators, described once by the cluster's admin."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from sdxl_operator.api.resource import AGE_COLUMN, LIST_SET, Column, DnsName, KindDefinition, Part, list_map, rules


class Backend(StrEnum):
    """The device file of the runtime that drives the accelerator."""

    NPU = "NPU"
    CUDA = "CUDA"
    CPU = "CPU"
    SIMULATED = "Simulated"


class AcceleratorResource(Part):
    """The extended resource that the device plugin advertises."""

    name: Annotated[
        str,
        Field(
            min_length=3,
            max_length=317,
            pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        ),
    ]
    """E.g. `huawei.com/Ascend910`, `nvidia.com/gpu`."""
    count: Annotated[int, Field(ge=1, le=64)] = 1
    """How many of it make one accelerator of spec.accelerator.count."""


class Toleration(Part):
    """As in a pod."""

    key: Annotated[str, Field(max_length=316)] = ""
    """The taint's key; empty with operator Exists matches all."""
    operator: Literal["Exists", "Equal"] = "Exists"
    """As in a pod."""
    value: Annotated[str, Field(max_length=63)] = ""
    """The taint's value, with operator Equal."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """The taint's effect; empty matches all."""


class HostMount(Part):
    """A device or driver path of the host, for hosts without a device runtime that mounts it."""

    host_path: Annotated[str, Field(min_length=2, max_length=512, pattern=r"^/")]
    """The path on the host, and in the pod."""
    read_only: bool = True
    """Driver files are mounted read-only."""
    type: Literal["Directory", "File", "CharDevice", "Socket"] = "Directory"
    """What must be there, or the pod does not start."""


class FieldReference(Part):
    """A field of the pod itself."""

    field_path: Annotated[str, Field(min_length=1, max_length=256)]
    """E.g. `metadata.annotations['huawei.com/Ascend910']`."""


class ProfileEnvironment(Part):
    """One environment variable of every container on this accelerator."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.value) != has(self.fieldRef)", "give exactly one of value and fieldRef"),
            (
                "!self.name.startsWith('SDXL_') || self.name.startsWith('SDXL_SIMULATED_')",
                "SDXL_ variables belong to the operator, those of the simulated device (SDXL_SIMULATED_) apart",
            ),
        )
    )

    name: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """The variable's name."""
    value: Annotated[str, Field(max_length=4096)] | None = None
    """Its value."""
    field_ref: FieldReference | None = None
    """The field of the pod that it is taken from."""


LabelName = Annotated[
    str,
    Field(min_length=1, max_length=317, pattern=r"^([a-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"),
]

BankRegistry = Annotated[
    str,
    Field(
        min_length=1,
        max_length=512,
        pattern=r"^(http://)?[A-Za-z0-9][-A-Za-z0-9.]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$",
    ),
]
PEM_RULE = (
    "self == '' || self.contains('-----BEGIN PUBLIC KEY-----')",
    "bankPublicKey is in PEM: -----BEGIN PUBLIC KEY----- and so on, as openssl ec -pubout and cosign write it",
)


class ProfileSpec(Part):
    """How pods for this family of accelerators are made. hostPath exists only here."""

    backend: Backend
    """The device file of the runtime that drives it."""
    image: Annotated[str, Field(min_length=1, max_length=1024)]
    """The runtime image for it."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """As in a pod."""
    resource: AcceleratorResource | None = None
    """The extended resource of one accelerator; none for plain CPUs."""
    runtime_class_name: Annotated[str, Field(max_length=253)] = ""
    """The RuntimeClass, where the device runtime is not the default."""
    scheduler_name: Annotated[str, Field(max_length=253)] = ""
    """The scheduler, where it is not the default."""
    node_selector: Annotated[
        dict[str, Annotated[str, Field(max_length=63)]], Field(json_schema_extra={"maxProperties": 32})
    ] = {}
    """Labels of the nodes that have it."""
    identity_labels: Annotated[list[LabelName], Field(max_length=8, json_schema_extra=LIST_SET)] = []
    """Labels of nodes that tell chip and driver: each combination of their values has a bank; empty: one bank."""
    tolerations: Annotated[list[Toleration], Field(max_length=16)] = []
    """Taints of the nodes that have it."""
    host_mounts: Annotated[list[HostMount], Field(max_length=32, json_schema_extra=list_map("hostPath"))] = []
    """Devices and driver files, for hosts without a device runtime."""
    pod_labels: Annotated[
        dict[str, Annotated[str, Field(max_length=63)]], Field(json_schema_extra={"maxProperties": 32})
    ] = {}
    """Labels that the device plugin or the scheduler wants on pods."""
    pod_annotations: Annotated[
        dict[str, Annotated[str, Field(max_length=4096)]], Field(json_schema_extra={"maxProperties": 32})
    ] = {}
    """Annotations that the device plugin or the scheduler wants on pods."""
    environment: Annotated[list[ProfileEnvironment], Field(max_length=64, json_schema_extra=list_map("name"))] = []
    """Environment of every container on this accelerator."""
    recommended_compile_mode: Literal["Eager", "AheadOfTime"] = "Eager"
    """What spec.compile.mode Auto means here."""
    startup_budget_seconds: Annotated[int, Field(ge=10, le=86400)] = 900
    """How long a replica may take from its start until it is ready."""
    allowed_namespaces: Annotated[list[DnsName], Field(max_length=256, json_schema_extra=LIST_SET)] = []
    """The namespaces that may use it; empty: all."""
    bank_registries: Annotated[list[BankRegistry], Field(max_length=64, json_schema_extra=LIST_SET)] = []
    """Where banks may be imported from: `host` or `host/prefix`, after `http://` if it has no TLS; empty: nowhere."""
    bank_public_key: Annotated[str, Field(max_length=16384, json_schema_extra=rules(PEM_RULE))] = ""
    """Public keys in PEM, one of which must have signed an imported bank as cosign does; empty: none has to."""


PROFILE_KIND = KindDefinition(
    kind="AcceleratorProfile",
    plural="acceleratorprofiles",
    singular="acceleratorprofile",
    short_names=("sdxlprofile",),
    categories=(),
    namespaced=False,
    description="How pods for one family of accelerators are made; written once by the cluster's admin.",
    spec=ProfileSpec,
    status=None,
    columns=(
        Column("Backend", "string", ".spec.backend", "The runtime's device file"),
        Column("Resource", "string", ".spec.resource.name", "The extended resource"),
        Column("Image", "string", ".spec.image", "The runtime image", priority=1),
        AGE_COLUMN,
    ),
)
