"""`SDXLService`: a model, an accelerator, a table of buckets, and how many replicas serve them."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from sdxl_operator.api.resource import (
    AGE_COLUMN,
    READY_COLUMNS,
    Column,
    DnsName,
    KindDefinition,
    Part,
    Requirements,
    Retention,
    Volume,
    bank_source,
    list_map,
    rules,
)
from sdxl_operator.api.server import Auth, Server
from sdxl_operator.api.service_status import ServiceStatus
from sdxl_operator.api.weights import ModelSource


class Precision(StrEnum):
    """The number format of weights and activations."""

    AUTO = "Auto"
    FP32 = "FP32"
    FP16 = "FP16"
    BF16 = "BF16"


class CompileMode(StrEnum):
    """How a bucket's UNet is made ready."""

    AUTO = "Auto"
    EAGER = "Eager"
    AHEAD_OF_TIME = "AheadOfTime"


class Placement(StrEnum):
    """Where buckets are compiled."""

    AUTO = "Auto"
    JOB = "Job"
    INIT_CONTAINER = "InitContainer"


class Accelerator(Part):
    """What a replica runs on."""

    profile: DnsName = "cpu"
    """The name of an AcceleratorProfile, made by the cluster's admin."""
    count: Annotated[int, Field(ge=1, le=16)] = 1
    """How many of the profile's resource one replica gets."""


class Bucket(Part):
    """One shape that is compiled, warmed up and served. Any other size is refused with the nearest."""

    width: Annotated[int, Field(ge=32, le=4096, multiple_of=8)]
    """Width of the picture in pixels, a multiple of 8; SDXL itself needs a multiple of 32."""
    height: Annotated[int, Field(ge=32, le=4096, multiple_of=8)]
    """Height of the picture in pixels, a multiple of 8; SDXL itself needs a multiple of 32."""
    batch: Annotated[int, Field(ge=1, le=64)] = 1
    """Pictures that one evaluation of the UNet carries; its rows are twice that, because of guidance."""
    prompt_tokens: Literal[77, 154, 231] = 77
    """Tokens of the longest prompt that it takes; each 77 cost time in every evaluation."""


class Tuning(Part):
    """When a compiled bucket is worth keeping."""

    minimum_speedup_percent: Annotated[int, Field(ge=100, le=1000)] = 102
    """A compiled bucket is kept from this speed on; eager is 100."""
    active_deadline_seconds: Annotated[int, Field(ge=10, le=604800)] = 21600
    """How long one compile or import Job may run."""


class Compile(Part):
    """How the tune bank is filled."""

    mode: CompileMode = CompileMode.AUTO
    """Auto takes what the profile recommends, or AheadOfTime where tuneBank names a bank; Eager compiles nothing."""
    placement: Placement = Placement.AUTO
    """Where: a Job on an accelerator of its own, or each replica before it serves. Auto is a Job, and where no
    accelerator is free for it a replica's: borrowed if it may be, else by an init container."""
    borrow: bool = True
    """Whether the Job may take a replica down while no accelerator is free; the replica comes back afterwards."""
    tuning: Tuning = Tuning()
    """When a compiled bucket is worth keeping, and how long the Job may take."""
    resources: Requirements = Requirements()
    """CPU and memory of the Job; a compile Job has those of spec.server.resources where nothing is said."""


class BankReference(Part):
    """An SDXLTuneBank of this namespace."""

    name: DnsName
    """Its name."""


class TuneBankUse(Part):
    """Where compiled buckets are kept, and where they come from."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.bankRef) || (!has(self.volume) && !has(self.from))",
                "bankRef names a bank, which has its volume and content: leave out volume and from, or bankRef",
            )
        )
    )

    bank_ref: BankReference | None = None
    """An existing SDXLTuneBank, made for what this spec asks for; found or made where nothing is said."""
    from_: Annotated[str, bank_source()] | None = Field(default=None, alias="from")
    """An OCI artefact by its digest, `oci://host/repository@sha256:…`: imported, nothing is compiled."""
    volume: Volume = Volume()
    """The bank's volume: an existing claim, or one to be made."""
    retention: Retention = Retention.RETAIN
    """Whether the bank stays when no service uses it any more."""


class Rollout(Part):
    """How replicas are replaced."""

    strategy: Literal["NoSurge", "Surge"] = "NoSurge"
    """NoSurge takes a replica down before its replacement starts, since cards are scarce; Surge starts it first."""
    max_unavailable: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many replicas may be missing at once under NoSurge, and in a node drain."""
    drain_timeout_seconds: Annotated[int, Field(ge=1, le=86400)] = 420
    """How long accepted work may take before a replica is ended."""
    progress_deadline_seconds: Annotated[int, Field(ge=30, le=604800)] = 3600
    """From this long without progress on, a rollout counts as stalled."""
    picture_check: Literal["Auto", "Disabled"] = "Auto"
    """Auto lets a replica count as ready only if each bucket paints the picture that the bank recorded, if it did."""


class ServicePort(Part):
    """The Service in front of the replicas."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """As in a Kubernetes Service."""
    port: Annotated[int, Field(ge=1, le=65535)] = 80
    """The port clients use."""


class Expose(Part):
    """How clients reach the service."""

    service: ServicePort = ServicePort()
    """The Service in front of the replicas."""


class ServiceSpec(Part):
    """What is served, on what, in which shapes, and by how many replicas."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.rollout.drainTimeoutSeconds >= self.server.requestTimeoutSeconds",
                "rollout.drainTimeoutSeconds must be at least server.requestTimeoutSeconds, to finish accepted work",
            ),
            (
                "self.compile.mode != 'Eager' || (!has(self.tuneBank.from) && !has(self.tuneBank.bankRef))",
                "compile.mode Eager uses no bank: leave out tuneBank.from and tuneBank.bankRef, or use Auto",
            ),
        )
    )

    model: ModelSource
    """Which model is served."""
    accelerator: Accelerator = Accelerator()
    """What a replica runs on."""
    precision: Precision = Precision.AUTO
    """The number format; Auto lets the accelerator choose."""
    buckets: Annotated[
        list[Bucket],
        Field(min_length=1, max_length=32, json_schema_extra=list_map("width", "height", "batch", "promptTokens")),
    ]
    """The shapes that are compiled, warmed up and served. Nothing else is."""
    compile: Compile = Compile()
    """How the tune bank is filled."""
    tune_bank: TuneBankUse = TuneBankUse()
    """Where compiled buckets are kept."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """How many replicas serve; the scale subresource, written by autoscalers too."""
    rollout: Rollout = Rollout()
    """How replicas are replaced."""
    server: Server = Server()
    """How a replica serves."""
    auth: Auth = Auth()
    """Who may ask for pictures."""
    expose: Expose = Expose()
    """How clients reach the service."""
    suspend: bool = False
    """True takes all replicas down and keeps everything else."""


SERVICE_KIND = KindDefinition(
    kind="SDXLService",
    plural="sdxlservices",
    singular="sdxlservice",
    short_names=("sdxl",),
    categories=("all",),
    namespaced=True,
    description="A Stable Diffusion XL model served in declared buckets by replicas on accelerators.",
    spec=ServiceSpec,
    status=ServiceStatus,
    scale=True,
    name_rule=(
        "self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "a service's name becomes the name of a Service: at most 63 small letters, digits and '-', a letter first",
    ),
    columns=(
        *READY_COLUMNS,
        Column("Replicas", "integer", ".status.readyReplicas", "Replicas that answer"),
        Column("Buckets", "string", ".status.bucketSummary", "Ready buckets of all"),
        Column("URL", "string", ".status.url", "Where clients inside the cluster reach it"),
        Column(
            "Message",
            "string",
            '.status.conditions[?(@.type=="Ready")].message',
            "The reason in a sentence",
            priority=1,
        ),
        AGE_COLUMN,
    ),
)
