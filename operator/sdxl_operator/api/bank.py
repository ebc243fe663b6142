"""`SDXLTuneBank`: compiled buckets for one model on one kind of accelerator. Outlives the services that use it."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from sdxl_operator.api.resource import (
    AGE_COLUMN,
    READY_COLUMNS,
    Column,
    Conditions,
    DnsName,
    Failure,
    KindDefinition,
    Part,
    Retention,
    Time,
    Volume,
    bank_source,
    list_map,
    rules,
)
from sdxl_operator.api.service import Precision


class BankModel(Part):
    """The model whose UNet is compiled."""

    name: DnsName
    """The SDXLModel that holds its files."""
    source: Annotated[str, Field(min_length=6, max_length=512)]
    """As in an SDXLService."""
    variant: Annotated[str, Field(max_length=32)] = ""
    """As in an SDXLService."""


class BankCompile(Part):
    """The options that change what is compiled."""

    mode: Literal["AheadOfTime"] = "AheadOfTime"
    """How it is compiled."""
    minimum_speedup_percent: Annotated[int, Field(ge=100, le=1000)] = 102
    """A compiled bucket is kept from this speed on; eager is 100."""


class BankSpec(Part):
    """What is known without running a container. The name is its hash, so two services share it; it never changes."""

    model_config = ConfigDict(
        json_schema_extra=rules(("self == oldSelf", "a bank is what its name says: make another instead of editing it"))
    )

    model: BankModel
    """The model whose UNet is compiled."""
    profile: DnsName
    """The AcceleratorProfile that it is compiled on."""
    image: Annotated[str, Field(min_length=1, max_length=1024)]
    """The runtime image that compiles and loads it."""
    precision: Precision = Precision.AUTO
    """The number format."""
    accelerator_count: Annotated[int, Field(ge=1, le=16)] = 1
    """How many of the profile's resource the compile Job gets: as many as a replica."""
    compile: BankCompile = BankCompile()
    """The options that change what is compiled."""
    volume: Volume = Volume()
    """Where compiled buckets are kept."""
    node_class: (
        Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(json_schema_extra={"maxProperties": 8})] | None
    ) = None
    """Labels of the nodes that it is made on, from the profile's identityLabels; '' for one that they lack."""
    from_: Annotated[str, bank_source()] | None = Field(default=None, alias="from")
    """The OCI artefact that it is imported from; nothing is compiled then."""


class BankPlacement(Part):
    """Where the compiling is done, and why there."""

    method: Literal["Job", "Borrowed", "InitContainer"]
    """A Job on a free accelerator; a Job on one that a replica gave up for it; replicas before they serve."""
    lender: DnsName | None = None
    """The service that is a replica short until the Job ends."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Why it is done there."""


class BankEntry(Part):
    """One bucket as measured by the compile Job."""

    key: Annotated[str, Field(max_length=32)]
    """`<width>x<height>b<batch>`, and `t<promptTokens>` where that is not 77."""
    state: Literal["Pending", "Compiling", "Kept", "Dropped", "Missing"]
    """Kept is served; Dropped was measured and not worth it; Missing is not in the artefact: `why` says so."""
    digest: str | None = None
    """`sha256:…` of the entry's manifest, which holds the digest of every file."""
    eager_milliseconds: int | None = None
    """Eager milliseconds per step, at the bucket's whole batch, guidance included."""
    compiled_milliseconds: int | None = None
    """Compiled milliseconds per step."""
    speedup_percent: int | None = None
    """Compiled against eager; eager is 100."""
    seconds: int | None = None
    """What it took to compile, measure and compare; the model's loading, once for each Job, is not in it."""
    other_digests: Annotated[list[str], Field(max_length=64)] = []
    """The digests of the same bucket on other node classes."""
    why: str | None = None
    """Why it was dropped, or is missing."""


class BankProgress(Part):
    """How far the Job is that fills the bank. A new stage is told at once, other numbers every 30 s at most."""

    stage: str
    """What it is at, e.g. Compiling or Measuring."""
    bucket: Annotated[str, Field(max_length=32)] | None = None
    """The bucket it is at."""
    index: int | None = None
    """Which one of them that is, from 1."""
    total: int | None = None
    """How many there are, those included that are there already."""
    waits_for: Annotated[str, Field(max_length=1024)] | None = None
    """For whom it waits: the writer that holds the bank, or a hub with what it answered last."""
    seconds: int
    """Since the Job began, rounded."""
    eta_seconds: int | None = None
    """How long it will still take, rounded; absent where no bucket was measured that would tell."""
    eta_from: Annotated[str, Field(max_length=1024)] | None = None
    """The measured buckets that this is reckoned from: as long again, others by pixels and batch in proportion."""
    summary: str
    """All of it in short, e.g. `2/4 compiling, 3 min left`."""
    time: Time
    """Since when this is so."""


class BankNodeClass(Part):
    """The part of a bank that is for one class of nodes: an SDXLTuneBank of its own, on the same volume."""

    bank: DnsName
    """That SDXLTuneBank."""
    node_class: Annotated[dict[str, str], Field(json_schema_extra={"maxProperties": 8})] = {}
    """The nodes' labels."""
    nodes: int
    """How many such nodes there are now."""
    state: Literal["Ready", "Pending", "Failing"]
    """Whether it has every bucket; one is made after the other, those that fail last."""
    summary: str | None = None
    """Finished buckets of all."""


class BankStatus(Part):
    """What was observed."""

    observed_generation: int | None = None
    """The generation this status speaks of."""
    conditions: Conditions = []
    """Ready is the summary."""
    identity: str | None = None
    """16 hex digits, read inside the container: model, chip, driver, versions, precision, options."""
    entries: Annotated[list[BankEntry], Field(max_length=256, json_schema_extra=list_map("key"))] = []
    """One for each bucket that a service declares or declared."""
    summary: str | None = None
    """Finished buckets of all, e.g. 7/9."""
    progress: BankProgress | None = None
    """How far the compile or import Job is, while it is at work."""
    claim_name: DnsName | None = None
    """The claim that holds it."""
    node_classes: Annotated[list[BankNodeClass], Field(max_length=64, json_schema_extra=list_map("bank"))] = []
    """Where the profile has identityLabels: its part for each class of nodes that is there."""
    placement: BankPlacement | None = None
    """Where the last compiling was or is done."""
    compile_seconds: int | None = None
    """How long the last compile or import Job ran."""
    stale: Annotated[str, Field(max_length=1024)] | None = None
    """Why an imported bank cannot be used where it was imported: the fields in which the two differ."""
    used_by: Annotated[list[str], Field(max_length=1000)] = []
    """The services that use it."""
    retention: Retention | None = None
    """What its users asked for: Retain if any of them did."""
    unused_since: Time | None = None
    """When its last user went."""
    failures: int | None = None
    """Jobs that failed in a row."""
    last_failure: Failure | None = None
    """How the last one failed."""


BANK_KIND = KindDefinition(
    kind="SDXLTuneBank",
    plural="sdxltunebanks",
    singular="sdxltunebank",
    short_names=("sdxlbank",),
    categories=(),
    namespaced=True,
    description="Compiled and measured buckets for one model on one kind of accelerator, shared by services.",
    spec=BankSpec,
    status=BankStatus,
    columns=(
        *READY_COLUMNS,
        Column("Buckets", "string", ".status.summary", "Finished buckets of all"),
        Column("Progress", "string", ".status.progress.summary", "What the Job is at, and how long it still takes"),
        Column("Profile", "string", ".spec.profile", "The accelerator's profile"),
        Column("Identity", "string", ".status.identity", "What it was compiled for"),
        Column("Part of", "string", ".metadata.labels.sdxl\\.dev/whole-bank", "For some nodes: the whole", priority=1),
        Column("From", "string", ".spec.from", "The artefact that it is imported from", priority=1),
        AGE_COLUMN,
    ),
)
