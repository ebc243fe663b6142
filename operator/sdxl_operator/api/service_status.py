"""What an SDXLService's status says."""

from typing import Annotated, Literal

from pydantic import Field

from sdxl_operator.api.resource import Conditions, Failure, Part, list_map


class RevisionStatus(Part):
    """Which frozen revision serves, and which is wanted."""

    current: str | None = None
    """The ControllerRevision that the replicas run."""
    updated: str | None = None
    """The one they will run."""


class RolloutStatus(Part):
    """The edit that replaces the revision that serves by the one that is wanted."""

    impact: Literal["Restart", "Recompile", "Retune", "Refetch"]
    """What it costs: docs/edits.md has a sentence for each."""
    fields: Annotated[list[Annotated[str, Field(max_length=512)]], Field(max_length=8)] = []
    """Where it differs, the dearest first; what it waits for is in the conditions."""


class BucketStatus(Part):
    """How one bucket is served."""

    key: Annotated[str, Field(max_length=32)]
    """`<width>x<height>b<batch>`, and `t<promptTokens>` where that is not 77."""
    state: Literal["Pending", "Compiling", "Compiled", "Warming", "Ready", "Failed"]
    """How far it is: compiled into the bank, then warmed up by a replica."""
    backend: str | None = None
    """What runs it: AheadOfTime, Eager or Simulated."""
    why: str | None = None
    """Why it is not served compiled, or why it failed."""
    entry: Literal["Loaded", "Missing", "Stale", "Corrupt", "PictureDiffers"] | None = None
    """What became of the bank's entry in the replicas; one that could not load it tells for all."""
    digest: str | None = None
    """The entry that this is said of."""
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


class AdapterStatus(Part):
    """Where one adapter's file is kept."""

    name: Annotated[str, Field(max_length=63)]
    """What requests call it."""
    model: str
    """The SDXLModel that holds its file."""


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
    refiner: str | None = None
    """The SDXLModel that holds the refiner."""
    adapters: Annotated[list[AdapterStatus], Field(max_length=32, json_schema_extra=list_map("name"))] = []
    """Where the adapters' files are kept."""
    bank: str | None = None
    """The SDXLTuneBank in use."""
    revision: RevisionStatus | None = None
    """Which frozen revision serves, and which is wanted."""
    rollout: RolloutStatus | None = None
    """The edit that is being rolled out; absent where none is."""
    bucket_summary: str | None = None
    """Ready buckets of all, e.g. 7/9."""
    buckets: Annotated[list[BucketStatus], Field(max_length=32, json_schema_extra=list_map("key"))] = []
    """How each declared bucket is served."""
    cold_start: ColdStart | None = None
    """What the latest replica's start cost."""
    last_failure: Failure | None = None
    """The last failure of something that ran for this service."""
