"""Where a service's files come from: its model, the model's refiner, and the adapters that requests may name."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from sdxl_operator.api.resource import DnsName, Part, Retention, Volume, list_map, rules

HUBS = ("hf://", "modelscope://")
"""What the sources of a hub begin with: they have a revision, and may need a token."""


class ModelContent(StrEnum):
    """What the files of an SDXLModel are."""

    PIPELINE = "Pipeline"
    REFINER = "Refiner"
    ADAPTER = "Adapter"


def _source(demo: str, path: str) -> Any:
    """Where files come from: the demo's own, a repository of a hub, or `path` in a claim."""
    claim = "self.matches('^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[-A-Za-z0-9._]+)*$')"
    name = "[A-Za-z0-9_][-A-Za-z0-9_.]*"
    repository = f"self.matches('^(hf|modelscope)://{name}/{name}(/[^/]+)*$')"
    return Field(
        min_length=6,
        max_length=512,
        json_schema_extra=rules(
            (
                f"self == '{demo}' || {claim} || {repository}",
                f"source is {demo}, hf://<owner>/<repository>, modelscope://<owner>/<repository>, each of the two with "
                f"a /<path> in it where need be, or pvc://<claim>/<{path}>",
            ),
            ("!self.contains('/../') && !self.endsWith('/..')", "the path in source must not contain '..'"),
        ),
    )


_REVISION = Field(
    max_length=64,
    json_schema_extra=rules(
        (
            "self == '' || self.matches('^[0-9a-f]{40}$')",
            "revision is a commit, 40 hex digits from the repository's history: a branch or a tag can move",
        )
    ),
)

_IS_HUB = "(" + " || ".join(f"self.source.startsWith('{hub}')" for hub in HUBS) + ")"
_REVISED = ConfigDict(
    json_schema_extra=rules(
        (
            f"!{_IS_HUB} || (has(self.revision) && self.revision != '')",
            "revision is required with hf:// and modelscope://: the commit to fetch, 40 hex digits",
        ),
        (
            f"{_IS_HUB} || !has(self.revision) || self.revision == ''",
            "revision is for hf:// and modelscope://; the files of demo:// and pvc:// have none: leave it out",
        ),
        (
            f"{_IS_HUB} || !has(self.tokenSecretRef)",
            "tokenSecretRef is for hf:// and modelscope://; demo:// and pvc:// need no token: leave it out",
        ),
    )
)


class TokenReference(Part):
    """The key of a Secret of this namespace that holds a hub's token."""

    name: DnsName
    """The Secret's name."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = "token"
    """Which of its keys."""


class Adapter(Part):
    """A LoRA that a request may name."""

    model_config = _REVISED

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    """What requests call it: small letters, digits and `-`."""
    source: Annotated[str, _source("demo://pixel", "path of the .safetensors file, or of a folder with exactly one")]
    """`demo://pixel`, `pvc://<claim>/<path>` (a `.safetensors` file or its folder), `hf://…` or `modelscope://…`."""
    revision: Annotated[str, _REVISION] = ""
    """As model.revision, for the adapter's repository."""
    token_secret_ref: TokenReference | None = None
    """As model.tokenSecretRef; that one where nothing is said and both sources are of one hub."""
    maximum_rank: Annotated[int, Field(ge=1, le=512)] = 64
    """The largest rank that the file may have: merging takes memory and time in proportion to it."""


class Refiner(Part):
    """The second model, which takes the last part of the denoising."""

    model_config = _REVISED

    source: Annotated[str, _source("demo://shapes-refiner", "path of the refiner's folder")]
    """`demo://shapes-refiner`, `pvc://<claim>/<path>` (a diffusers folder), `hf://…` or `modelscope://…`."""
    revision: Annotated[str, _REVISION] = ""
    """As model.revision, for the refiner's repository."""
    token_secret_ref: TokenReference | None = None
    """As model.tokenSecretRef; that one where nothing is said and both sources are of one hub."""
    variant: Annotated[str, Field(max_length=32, pattern=r"^[a-z0-9]*$")] = ""
    """As model.variant, for the refiner's files."""
    start_at_percent: Annotated[int, Field(ge=50, le=99)] = 80
    """From this percent of the noise schedule on the refiner takes the steps; diffusers' denoising_start is 0.8."""


class ModelSource(Part):
    """Which model is served and where its files are kept."""

    model_config = _REVISED

    source: Annotated[str, _source("demo://shapes", "path of the pipeline's folder")]
    """`demo://shapes` (comes with the runtime), `hf://<owner>/<repository>` (Hugging Face),
    `modelscope://<owner>/<repository>`, or `pvc://<claim>/<path>` (a diffusers folder that is there already)."""
    revision: Annotated[str, _REVISION] = ""
    """The commit of the hub's repository that is fetched, 40 hex digits."""
    token_secret_ref: TokenReference | None = None
    """The token for a private or gated repository of the hub; only the fetch Job gets it."""
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
