"""Where a service's files come from: its model, the model's refiner, and the adapters that requests may name."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from sdxl_operator.api.resource import Part, Retention, Volume, list_map, rules


class ModelContent(StrEnum):
    """What the files of an SDXLModel are."""

    PIPELINE = "Pipeline"
    REFINER = "Refiner"
    ADAPTER = "Adapter"


def _source(demo: str, path: str) -> Any:
    """Where files come from: the demo's own, or `path` in a claim."""
    claim = "self.matches('^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[-A-Za-z0-9._]+)*$')"
    return Field(
        min_length=6,
        max_length=512,
        json_schema_extra=rules(
            (f"self == '{demo}' || {claim}", f"source is {demo}, or pvc://<claim>/<{path}>"),
            ("!self.contains('/../') && !self.endsWith('/..')", "the path in source must not contain '..'"),
        ),
    )


class Adapter(Part):
    """A LoRA that a request may name."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    """What requests call it: small letters, digits and `-`."""
    source: Annotated[str, _source("demo://pixel", "path of the .safetensors file, or of a folder with exactly one")]
    """`demo://pixel` (comes with the runtime) or `pvc://<claim>/<path>` (a `.safetensors` file, or its folder)."""
    maximum_rank: Annotated[int, Field(ge=1, le=512)] = 64
    """The largest rank that the file may have: merging takes memory and time in proportion to it."""


class Refiner(Part):
    """The second model, which takes the last part of the denoising."""

    source: Annotated[str, _source("demo://shapes-refiner", "path of the refiner's folder")]
    """`demo://shapes-refiner` (comes with the runtime) or `pvc://<claim>/<path>` (a diffusers folder)."""
    variant: Annotated[str, Field(max_length=32, pattern=r"^[a-z0-9]*$")] = ""
    """As model.variant, for the refiner's files."""
    start_at_percent: Annotated[int, Field(ge=50, le=99)] = 80
    """From this percent of the noise schedule on the refiner takes the steps; diffusers' denoising_start is 0.8."""


class ModelSource(Part):
    """Which model is served and where its files are kept."""

    source: Annotated[str, _source("demo://shapes", "path of the pipeline's folder")]
    """`demo://shapes` (the small model that comes with the runtime) or `pvc://<claim>/<path>` (a diffusers folder)."""
    variant: Annotated[str, Field(max_length=32, pattern=r"^[a-z0-9]*$")] = ""
    """Which weight files are taken: `fp16` picks `*.fp16.safetensors`; empty picks those without a variant."""
    refiner: Refiner | None = None
    """The second model, which takes the last part of the denoising; none where nothing is said."""
    adapters: Annotated[list[Adapter], Field(max_length=32, json_schema_extra=list_map("name"))] = []
    """LoRAs that a request may name, each with a scale of its own; nothing is compiled for them."""
    volume: Volume | None = None
    """Where the files are kept; as the tune bank's where nothing is said. A pvc:// source stays in its claim."""
    retention: Retention = Retention.RETAIN
    """Whether the files stay when no service uses them any more; the refiner's and the adapters' too."""
