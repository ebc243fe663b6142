"""The wire: OpenAI's image generation as the `openai` package 3.54 types it, with extensions under diffusers' names."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from sdxl_runtime.jobs import LARGEST_SEED

SchedulerName = Literal["Euler", "EulerAncestral", "DPM++2M", "DPM++2MKarras", "DDIM", "UniPC", "LCM"]
SCHEDULERS: tuple[str, ...] = get_args(SchedulerName)
LARGEST_STEPS = 150
LARGEST_GUIDANCE = 30.0
LARGEST_TEXT = 4000
"""Characters of a prompt; its tokens, at most 77, are the narrower limit."""

QUALITY_STEPS: Mapping[str, int] = {"low": 15, "medium": 30, "standard": 30, "high": 50, "hd": 50}
"""What `quality` means here: denoising steps. `auto` is the service's default."""

_MEANINGLESS: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "background": (("auto", "opaque"), "SDXL paints opaque pictures; leave it out"),
    "complexity": ((), "SDXL does not plan; num_inference_steps sets the effort"),
    "frame_count": ((), "SDXL paints still pictures; leave it out"),
    "frame_duration_ms": ((), "SDXL paints still pictures; leave it out"),
    "moderation": ((), "nothing is moderated here; leave it out"),
    "partial_images": ((0,), "pictures are not streamed; leave it out"),
    "response_format": (("b64_json",), "pictures come in the response; use b64_json"),
    "stream": ((False,), "pictures are not streamed; use false"),
    "style": ((), "SDXL has no styles; describe the style in the prompt"),
    "svg": ((), "SDXL paints pixels; leave it out"),
}
"""Fields of OpenAI's API that have no meaning for SDXL: the values that change nothing, and what to do instead."""


EXPECTED: Mapping[str, str] = {
    "prompt": f"a text of 1 to {LARGEST_TEXT} characters, at most 77 tokens",
    "model": "a text",
    "n": "a whole number from 1 to 10",
    "size": "a text such as 1024x1024, or auto",
    "quality": "one of auto, low, medium, standard, high, hd",
    "output_format": "one of png, jpeg, webp",
    "output_compression": "a whole number from 0 to 100",
    "user": "a text",
    "safety_identifier": "a text",
    "negative_prompt": f"a text of at most {LARGEST_TEXT} characters and 77 tokens",
    "seed": f"a whole number from 0 to {LARGEST_SEED}",
    "num_inference_steps": f"a whole number from 1 to {LARGEST_STEPS}",
    "guidance_scale": f"a number from 0 to {LARGEST_GUIDANCE:g}",
    "scheduler": f"one of {', '.join(SCHEDULERS)}",
}
"""What each field takes, as an error message says it."""


class GenerationRequest(BaseModel):
    """The body of `POST /v1/images/generations`. A null member is an absent one."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)

    prompt: Annotated[str, Field(min_length=1, max_length=LARGEST_TEXT)]
    """What the picture shows; at most 77 tokens."""
    model: str | None = None
    """The id that `/v1/models` lists, or absent."""
    n: Annotated[int, Field(ge=1, le=10)] | None = None
    """How many pictures; default 1."""
    size: str | None = None
    """`WIDTHxHEIGHT` of a declared bucket; `auto`, the default, is the first one."""
    quality: Literal["auto", "low", "medium", "standard", "high", "hd"] | None = None
    """Denoising steps: low 15, medium or standard 30, high or hd 50; `auto` is the service's default."""
    output_format: Literal["png", "jpeg", "webp"] | None = None
    """Default png."""
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    """Quality of jpeg and webp, default 100; png takes only 100."""
    user: str | None = None
    """Accepted; not used."""
    safety_identifier: str | None = None
    """Accepted and echoed; not used."""
    background: Any = None
    """`auto` or `opaque`, which change nothing."""
    complexity: Any = None
    """No meaning for SDXL."""
    frame_count: Any = None
    """No meaning for SDXL."""
    frame_duration_ms: Any = None
    """No meaning for SDXL."""
    moderation: Any = None
    """No meaning for SDXL."""
    partial_images: Any = None
    """0, which changes nothing: pictures are not streamed."""
    response_format: Any = None
    """`b64_json`, the default."""
    stream: Any = None
    """`false`: pictures are not streamed."""
    style: Any = None
    """No meaning for SDXL."""
    svg: Any = None
    """No meaning for SDXL."""

    negative_prompt: Annotated[str, Field(max_length=LARGEST_TEXT)] | None = None
    """What the picture must not show; at most 77 tokens."""
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] | None = None
    """Seed of the first picture; picture i of n has seed + i. Absent: drawn, and returned."""
    num_inference_steps: Annotated[int, Field(ge=1, le=LARGEST_STEPS)] | None = None
    """Denoising steps."""
    guidance_scale: Annotated[float, Field(ge=0, le=LARGEST_GUIDANCE, allow_inf_nan=False)] | None = None
    """Weight of the prompt; no guidance up to 1."""
    scheduler: SchedulerName | None = None
    """The sampler."""

    @field_validator(*_MEANINGLESS)
    @classmethod
    def _means_nothing(cls, value: Any, info: Any) -> Any:
        neutral, advice = _MEANINGLESS[info.field_name]
        if value is None or any(type(value) is type(allowed) and value == allowed for allowed in neutral):
            return value
        raise PydanticCustomError("unsupported", "is not supported: {advice}", {"advice": advice})

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise PydanticCustomError("blank", "is blank; it must say what the picture shows")
        return value


class ImageData(BaseModel):
    """One picture. `seed` alone paints it again in the same bucket."""

    b64_json: str
    seed: int


class Evaluations(BaseModel):
    """UNet evaluations, counted per picture; nominal: with none skipped."""

    executed: int
    nominal: int


class Details(BaseModel):
    """How the pictures were made."""

    bucket: str
    backend: str
    """AheadOfTime, Eager or Simulated."""
    identity: str
    """Numerics fingerprint: with the same one, bucket and seed the picture is the same."""
    scheduler: str
    num_inference_steps: int
    guidance_scale: float
    evaluations: Evaluations
    seconds: dict[str, float]
    """By phase: queue, encode, denoise, decode, encode_image, total."""


class GenerationResponse(BaseModel):
    """OpenAI's ImagesResponse, and `sdxl`."""

    created: int
    """Unix time in seconds."""
    data: list[ImageData]
    background: Literal["opaque"] = "opaque"
    output_format: str
    quality: str | None = None
    """Where the request named one, in today's words: standard is medium, hd is high."""
    safety_identifier: str | None = None
    size: str
    sdxl: Details


class ErrorDetail(BaseModel):
    """OpenAI's error: `param` names the field, `code` the kind."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail
