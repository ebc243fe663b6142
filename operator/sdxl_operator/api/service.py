"""`SDXLService`: a model, an accelerator, a table of buckets, and how many replicas serve them."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from sdxl_operator.api.resource import (
    Column,
    Conditions,
    ConditionStatus,
    DnsName,
    Failure,
    KindDefinition,
    Part,
    Quantity,
    Requirements,
    Retention,
    Volume,
    list_map,
    rules,
)

__all__ = ["SERVICE_KIND", "Bucket", "ConditionStatus", "Quantity", "ServiceSpec", "ServiceStatus"]


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


class RevisionStatus(Part):
    """Which frozen revision serves, and which is wanted."""

    current: str | None = None
    """The ControllerRevision that the replicas run."""
    updated: str | None = None
    """The one they will run."""


class BucketStatus(Part):
    """How one bucket is served."""

    key: Annotated[str, Field(max_length=32)]
    """`<width>x<height>b<batch>`."""
    state: Literal["Pending", "Compiling", "Compiled", "Warming", "Ready", "Failed"]
    """How far it is: compiled into the bank, then warmed up by a replica."""
    backend: str | None = None
    """What runs it: AheadOfTime, Eager or Simulated."""
    why: str | None = None
    """Why it is not served compiled, or why it failed."""
    milliseconds_per_step: int | None = None
    """Measured by a replica at warm-up, at the bucket's whole batch, guidance included."""
    speedup_percent: int | None = None
    """Compiled against eager as measured by the compile Job; eager is 100."""


class ColdStart(Part):
    """What the latest replica's start cost, whole seconds by phase."""

    schedule_seconds: int | None = None
    """From creation to a node."""
    pull_seconds: int | None = None
    """From a node to a running container: volumes, image, sandbox."""
    load_seconds: int | None = None
    """Reading the model and the bank."""
    compile_seconds: int | None = None
    """The compile Job that filled the bank for this revision."""
    warm_seconds: int | None = None
    """Running every bucket once."""


class ServiceStatus(Part):
    """What was observed."""

    observed_generation: int | None = None
    """The generation this status speaks of."""
    conditions: Conditions = []
    """Ready is the summary; the others say what it waits for."""
    replicas: int | None = None
    """Replicas that exist."""
    ready_replicas: int | None = None
    """Replicas that answer."""
    selector: str | None = None
    """The replicas' label selector, for autoscalers."""
    url: str | None = None
    """Where clients inside the cluster reach the service."""
    model: str | None = None
    """The SDXLModel in use."""
    bank: str | None = None
    """The SDXLTuneBank in use."""
    revision: RevisionStatus | None = None
    """Which frozen revision serves, and which is wanted."""
    bucket_summary: str | None = None
    """Ready buckets of all, e.g. 7/9."""
    buckets: Annotated[list[BucketStatus], Field(max_length=32, json_schema_extra=list_map("key"))] = []
    """How each declared bucket is served."""
    cold_start: ColdStart | None = None
    """What the latest replica's start cost."""
    last_failure: Failure | None = None
    """The last failure of something that ran for this service."""


READY_COLUMNS = (
    Column(
        "Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether all that was asked for is there"
    ),
    Column("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why, or what it waits for"),
)
AGE_COLUMN = Column("Age", "date", ".metadata.creationTimestamp", "Time since it was made")

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
