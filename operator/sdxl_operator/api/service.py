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
    list_map,
    rules,
)
from sdxl_operator.api.service_status import ServiceStatus


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


class Scheduler(StrEnum):
    """The sampler of the denoising loop, under its usual name."""

    EULER = "Euler"
    EULER_ANCESTRAL = "EulerAncestral"
    DPM_2M = "DPM++2M"
    DPM_2M_KARRAS = "DPM++2MKarras"
    DDIM = "DDIM"
    UNIPC = "UniPC"
    LCM = "LCM"


RESERVED_ENVIRONMENT = (
    r"^(SDXL_.*|ASCEND_.*VISIBLE.*|ASCEND_RUNTIME_.*|NVIDIA_.*|CUDA_VISIBLE_DEVICES|LD_.*|PYTHON.*|HOME)$"
)


class ModelSource(Part):
    """Which model is served and where its files are kept."""

    source: Annotated[
        str,
        Field(
            min_length=6,
            max_length=512,
            json_schema_extra=rules(
                (
                    "self == 'demo://shapes' || self.matches('^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[-A-Za-z0-9._]+)*$')",
                    "source is demo://shapes, or pvc://<claim>/<path of the pipeline's folder>",
                ),
                ("!self.contains('/../') && !self.endsWith('/..')", "the path in source must not contain '..'"),
            ),
        ),
    ]
    """`demo://shapes` (the small model that comes with the runtime) or `pvc://<claim>/<path>` (a diffusers folder)."""
    variant: Annotated[str, Field(max_length=32, pattern=r"^[a-z0-9]*$")] = ""
    """Which weight files are taken: `fp16` picks `*.fp16.safetensors`; empty picks those without a variant."""
    volume: Volume | None = None
    """Where the files are kept; as the tune bank's where nothing is said. A pvc:// source stays in its claim."""
    retention: Retention = Retention.RETAIN
    """Whether the files stay when no service uses them any more."""


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


class Tuning(Part):
    """When a compiled bucket is worth keeping."""

    minimum_speedup_percent: Annotated[int, Field(ge=100, le=1000)] = 102
    """A compiled bucket is kept from this speed on; eager is 100."""
    active_deadline_seconds: Annotated[int, Field(ge=10, le=604800)] = 21600
    """How long one compile Job may run."""


class Compile(Part):
    """How the tune bank is filled."""

    mode: CompileMode = CompileMode.AUTO
    """Auto takes what the profile recommends; Eager compiles nothing; AheadOfTime fills the bank."""
    tuning: Tuning = Tuning()
    """When a compiled bucket is worth keeping, and how long the Job may take."""
    resources: Requirements = Requirements()
    """CPU and memory of the compile Job; those of spec.server.resources where nothing is said."""


class TuneBankUse(Part):
    """Where compiled buckets are kept."""

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


class RequestDefaults(Part):
    """What a request gets that does not say."""

    num_inference_steps: Annotated[int, Field(ge=1, le=150)] = 30
    """Denoising steps."""
    guidance_scale: Annotated[str, Field(pattern=r"^([0-9]|[12][0-9])(\.[0-9]{1,2})?$|^30(\.0{1,2})?$")] = "5.0"
    """Guidance scale, a decimal number from 0 to 30 written as a string."""
    scheduler: Scheduler = Scheduler.EULER
    """The sampler."""


class EnvironmentVariable(Part):
    """One environment variable of the server container."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=256,
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
            json_schema_extra=rules(
                (
                    f"!self.matches('{RESERVED_ENVIRONMENT}')",
                    "this variable belongs to the operator, the device plugin or the loader; remove it from env",
                )
            ),
        ),
    ]
    """The variable's name."""
    value: Annotated[str, Field(max_length=4096)] = ""
    """Its value."""


class SecretReference(Part):
    """A Secret of this namespace."""

    name: DnsName
    """The Secret's name."""


class Server(Part):
    """How a replica serves."""

    queue_limit_seconds: Annotated[int, Field(ge=1, le=86400)] = 120
    """Seconds of work that may wait in a replica; beyond that it answers 429."""
    request_timeout_seconds: Annotated[int, Field(ge=1, le=86400)] = 300
    """A request's time from acceptance on, waiting included."""
    defaults: RequestDefaults = RequestDefaults()
    """What a request gets that does not say."""
    resources: Requirements = Requirements()
    """CPU and memory of a replica."""
    env: Annotated[list[EnvironmentVariable], Field(max_length=64, json_schema_extra=list_map("name"))] = []
    """Further environment of a replica."""
    image_pull_secrets: Annotated[list[SecretReference], Field(max_length=16, json_schema_extra=list_map("name"))] = []
    """Secrets for pulling the image."""
    labels: Annotated[
        dict[str, Annotated[str, Field(max_length=63)]], Field(json_schema_extra={"maxProperties": 32})
    ] = {}
    """Further labels of a replica; the operator's own win."""
    annotations: Annotated[
        dict[str, Annotated[str, Field(max_length=4096)]], Field(json_schema_extra={"maxProperties": 32})
    ] = {}
    """Further annotations of a replica."""
    priority_class_name: Annotated[str, Field(max_length=253)] = ""
    """The PriorityClass of a replica."""


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
            )
        )
    )

    model: ModelSource
    """Which model is served."""
    accelerator: Accelerator = Accelerator()
    """What a replica runs on."""
    precision: Precision = Precision.AUTO
    """The number format; Auto lets the accelerator choose."""
    buckets: Annotated[
        list[Bucket], Field(min_length=1, max_length=32, json_schema_extra=list_map("width", "height", "batch"))
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
