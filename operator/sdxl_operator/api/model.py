"""`SDXLModel`: the files of one model, refiner or adapter on one volume. Made by the first service that names it."""

from typing import Annotated

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
    rules,
)
from sdxl_operator.api.weights import ModelContent


class ModelSpec(Part):
    """What the name is a hash of; it never changes."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self == oldSelf", "a model is what its name says: make another instead of editing it")
        )
    )

    source: Annotated[str, Field(min_length=6, max_length=512)]
    """As in an SDXLService."""
    revision: Annotated[str, Field(max_length=64)] = ""
    """As in an SDXLService."""
    variant: Annotated[str, Field(max_length=32)] = ""
    """As in an SDXLService."""
    content: ModelContent = ModelContent.PIPELINE
    """What the files are, and so how they are checked and measured."""
    volume: Volume = Volume()
    """Where the files are kept."""


class ModelStatus(Part):
    """What was observed."""

    observed_generation: int | None = None
    """The generation this status speaks of."""
    conditions: Conditions = []
    """Ready is the summary."""
    digest: str | None = None
    """`sha256:…` over the files that are loaded."""
    bytes: int | None = None
    """Their size."""
    files: int | None = None
    """Their number."""
    size_multiple: int | None = None
    """What widths and heights must divide by: the VAE's factor × 2^(UNet levels − 1); 1 for an adapter."""
    rank: int | None = None
    """The highest rank of an adapter's parts."""
    progress: str | None = None
    """What the fetch Job is at, and how far, e.g. `Downloading 45%`; like the next six, while it is at work."""
    bytes_done: int | None = None
    """Bytes that are done of it, rounded."""
    total_bytes: int | None = None
    """Bytes that there are to do."""
    bytes_per_second: int | None = None
    """How fast it is, rounded."""
    eta_seconds: int | None = None
    """How long it will still take at that speed, rounded."""
    waits_for: Annotated[str, Field(max_length=1024)] | None = None
    """What keeps it from going on while it tries again: another writer, or a hub that does not answer as it should."""
    progress_time: Time | None = None
    """Since when the Job says so; it is asked every few seconds, and another number is written every 30 s at most."""
    claim_name: DnsName | None = None
    """The claim that holds the files."""
    used_by: Annotated[list[str], Field(max_length=1000)] = []
    """The services that use it."""
    retention: Retention | None = None
    """What its users asked for: Retain if any of them did."""
    unused_since: Time | None = None
    """When its last user went."""
    failures: int | None = None
    """Fetch Jobs that failed in a row."""
    last_failure: Failure | None = None
    """How the last one failed."""


MODEL_KIND = KindDefinition(
    kind="SDXLModel",
    plural="sdxlmodels",
    singular="sdxlmodel",
    short_names=("sdxlmodel",),
    categories=(),
    namespaced=True,
    description="The files of one model on one volume, fetched once and shared by the services that name it.",
    spec=ModelSpec,
    status=ModelStatus,
    columns=(
        *READY_COLUMNS,
        Column("Progress", "string", ".status.progress", "What the fetch Job is at, and how far"),
        Column("Source", "string", ".spec.source", "Where the files come from"),
        Column("Revision", "string", ".spec.revision", "Which commit of a hub's repository", priority=1),
        Column("Content", "string", ".spec.content", "What they are", priority=1),
        Column("Bytes", "integer", ".status.bytes", "Their size"),
        Column("Claim", "string", ".status.claimName", "The claim that holds them"),
        AGE_COLUMN,
    ),
)
