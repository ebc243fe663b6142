"""How a replica of an `SDXLService` serves, and to whom."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from sdxl_operator.api.resource import DnsName, Part, Requirements, list_map, rules


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


class TopologySpread(Part):
    """How evenly the replicas of one revision are spread, as in a pod's topologySpreadConstraints."""

    topology_key: Annotated[str, Field(min_length=1, max_length=316)]
    """The node label whose values are the places, e.g. `kubernetes.io/hostname` or `topology.kubernetes.io/zone`."""
    max_skew: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many replicas more than the emptiest a place may have."""
    when_unsatisfiable: Literal["ScheduleAnyway", "DoNotSchedule"] = "ScheduleAnyway"
    """Whether a replica that would break this starts all the same, or waits."""


class Server(Part):
    """How a replica serves."""

    queue_limit_seconds: Annotated[int, Field(ge=1, le=86400)] = 120
    """Seconds of work that may wait in a replica; beyond that it answers 429."""
    request_timeout_seconds: Annotated[int, Field(ge=1, le=86400)] = 300
    """A request's time from acceptance on, waiting included."""
    recycle_after_requests: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """After so many answered requests a replica drains and starts anew, to give memory back; 0: never."""
    log_prompts: bool = False
    """True lets prompts appear in a replica's log."""
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
    topology_spread: Annotated[
        list[TopologySpread], Field(max_length=8, json_schema_extra=list_map("topologyKey", "whenUnsatisfiable"))
    ] = []
    """How replicas are spread over nodes and zones; the scheduler's own default where nothing is said."""
    priority_class_name: Annotated[str, Field(max_length=253)] = ""
    """The PriorityClass of a replica."""


class Auth(Part):
    """Who may ask for pictures."""

    api_keys_secret_ref: SecretReference | None = None
    """The Secret with the API keys: every line of every value is one; read anew when it changes. None: anybody."""
