"""What the server answers: OpenAI's bodies and events, with `sdxl` and further members."""

from typing import Literal

from pydantic import BaseModel

from sdxl_runtime.protocol.requests import AdapterChoice


class ImageData(BaseModel):
    """One picture, here or where it can be fetched. `seed` alone paints it again in the same bucket."""

    b64_json: str | None = None
    url: str | None = None
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
    adapters: list[AdapterChoice] = []
    refiner: bool = False
    evaluations: Evaluations
    seconds: dict[str, float]
    """By phase: queue, encode, denoise, decode, encode_image, total."""


class UsageDetails(BaseModel):
    """Tokens that went in."""

    image_tokens: int = 0
    text_tokens: int


class Usage(BaseModel):
    """OpenAI's usage. Only the text has tokens here."""

    input_tokens: int
    input_tokens_details: UsageDetails
    output_tokens: int = 0
    total_tokens: int


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
    usage: Usage
    sdxl: Details


class PartialEvent(BaseModel):
    """A preview on the way; `type` is `image_generation.partial_image` or `image_edit.partial_image`."""

    type: str
    b64_json: str
    background: Literal["opaque"] = "opaque"
    created_at: int
    output_format: str
    partial_image_index: int
    """From 0."""
    quality: str
    size: str


class CompletedEvent(BaseModel):
    """The picture; `type` is `image_generation.completed` or `image_edit.completed`."""

    type: str
    b64_json: str
    background: Literal["opaque"] = "opaque"
    created_at: int
    output_format: str
    quality: str
    safety_identifier: str | None = None
    size: str
    usage: Usage
    seed: int
    sdxl: Details


class ProgressEvent(BaseModel):
    """Where a stream with `progress` stands; `type` is `image_generation.progress` or `image_edit.progress`."""

    type: str
    queued: bool
    """Whether it waits for its first step."""
    step: int
    steps: int
    seconds_per_step: float
    """As it went so far."""
    remaining_seconds: float
    """Of the steps that are left, at that pace; while queued, of the work that waits."""


class ErrorDetail(BaseModel):
    """OpenAI's error: `param` names the field, `code` the kind."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail


class ErrorEvent(ErrorBody):
    """What ends a stream that cannot go on."""

    type: Literal["error"] = "error"
