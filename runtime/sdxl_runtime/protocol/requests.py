"""What clients send: OpenAI's images API as the `openai` package 3.57 types it, extensions under diffusers' names."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from sdxl_runtime.jobs import LARGEST_SEED

SchedulerName = Literal["Euler", "EulerAncestral", "DPM++2M", "DPM++2MKarras", "DDIM", "UniPC", "LCM"]
SCHEDULERS: tuple[str, ...] = get_args(SchedulerName)
LARGEST_STEPS = 150
LARGEST_GUIDANCE = 30.0
LARGEST_TEXT = 4000
"""Characters of a prompt; its tokens, as many as the bucket has, are the narrower limit."""
LARGEST_SCALE = 4.0
"""Of an adapter, to either side."""

QUALITY_STEPS: Mapping[str, int] = {"low": 15, "medium": 30, "standard": 30, "high": 50, "hd": 50}
"""What `quality` means here: denoising steps. `auto` is the service's default."""

_MEANINGLESS: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "background": (("auto", "opaque"), "SDXL paints opaque pictures; leave it out"),
    "complexity": ((), "SDXL does not plan; num_inference_steps sets the effort"),
    "frame_count": ((), "SDXL paints still pictures; leave it out"),
    "frame_duration_ms": ((), "SDXL paints still pictures; leave it out"),
    "moderation": ((), "nothing is moderated here; leave it out"),
    "style": ((), "SDXL has no styles; describe the style in the prompt"),
    "svg": ((), "SDXL paints pixels; leave it out"),
}
"""Fields of OpenAI's API that have no meaning for SDXL: the values that change nothing, and what to do instead."""
_MEANINGLESS_FOR_EDITS: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "input_fidelity": ((), "strength says how much of the image stays"),
    "markup": ((), "draw on the image itself, or send a mask"),
}

_A_SIZE = "a text such as 1024x1024"
_A_CROP = "two whole numbers from 0: the top and the left"

EXPECTED: Mapping[str, str] = {
    "prompt": f"a text of 1 to {LARGEST_TEXT} characters, and of as many tokens as the size allows",
    "model": "a text",
    "n": "a whole number from 1 to 10",
    "size": f"{_A_SIZE}, or auto",
    "quality": "one of auto, low, medium, standard, high, hd",
    "response_format": "one of b64_json, url",
    "output_format": "one of png, jpeg, webp",
    "output_compression": "a whole number from 0 to 100",
    "stream": "true or false",
    "partial_images": "a whole number from 0 to 3",
    "progress": "true or false",
    "user": "a text",
    "safety_identifier": "a text",
    "negative_prompt": f"a text of at most {LARGEST_TEXT} characters, and of as many tokens as the size allows",
    "prompt_2": f"a text of at most {LARGEST_TEXT} characters, and of as many tokens as the size allows",
    "negative_prompt_2": f"a text of at most {LARGEST_TEXT} characters, and of as many tokens as the size allows",
    "seed": f"a whole number from 0 to {LARGEST_SEED}",
    "num_inference_steps": f"a whole number from 1 to {LARGEST_STEPS}",
    "guidance_scale": f"a number from 0 to {LARGEST_GUIDANCE:g}",
    "scheduler": f"one of {', '.join(SCHEDULERS)}",
    "batch": "a whole number from 1, the batch of a declared bucket",
    "snap": "true or false",
    "original_size": _A_SIZE,
    "crop": _A_CROP,
    "target_size": _A_SIZE,
    "negative_original_size": _A_SIZE,
    "negative_crop": _A_CROP,
    "negative_target_size": _A_SIZE,
    "adapters": f'a list like [{{"name": "pixel", "scale": 1.0}}], scales from -{LARGEST_SCALE:g} to {LARGEST_SCALE:g}',
    "refiner": "true or false",
    "image": "one PNG, JPEG or WebP picture: a file of a form, or a data URL in JSON",
    "mask": "one PNG picture of the image's size with transparency: a file of a form, or a data URL in JSON",
    "strength": "a number above 0, up to 1",
}
"""What each field takes, as an error message says it."""

Text = Annotated[str, Field(max_length=LARGEST_TEXT)]
Coordinate = Annotated[int, Field(ge=0, le=65536)]


class AdapterChoice(BaseModel):
    """A LoRA that a request uses."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """One of the names that `/v1/models` lists."""
    scale: Annotated[float, Field(ge=-LARGEST_SCALE, le=LARGEST_SCALE, allow_inf_nan=False)] = 1.0
    """1 is the adapter as trained, 0 leaves it out."""


class ImageRequest(BaseModel):
    """What generations and edits have in common. A null member is an absent one."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)

    prompt: Annotated[str, Field(min_length=1, max_length=LARGEST_TEXT)]
    """What the picture shows; at most as many tokens as the bucket attends to (77, 154 or 231)."""
    model: str | None = None
    """The id that `/v1/models` lists, or absent."""
    n: Annotated[int, Field(ge=1, le=10)] | None = None
    """How many pictures; default 1. With `stream` it must be 1."""
    size: str | None = None
    """`WIDTHxHEIGHT` of a declared bucket; `auto`, the default, is the first one; for an edit, the nearest."""
    quality: Literal["auto", "low", "medium", "standard", "high", "hd"] | None = None
    """Denoising steps: low 15, medium or standard 30, high or hd 50; `auto` is the service's default."""
    response_format: Literal["b64_json", "url"] | None = None
    """`b64_json`, the default, or `url`: where the picture can be fetched for a limited time."""
    output_format: Literal["png", "jpeg", "webp"] | None = None
    """Default png."""
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    """Quality of jpeg and webp, default 100; png takes only 100."""
    stream: bool | None = None
    """Server-sent events: previews, then the picture."""
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = None
    """Previews of a stream; default 0."""
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
    style: Any = None
    """No meaning for SDXL."""
    svg: Any = None
    """No meaning for SDXL."""

    negative_prompt: Text | None = None
    """What the picture must not show; limits as of `prompt`."""
    prompt_2: Text | None = None
    """The second text encoder's prompt; absent: the same."""
    negative_prompt_2: Text | None = None
    """Likewise for the negative prompt."""
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] | None = None
    """Seed of the first picture; picture i of n has seed + i. Absent: drawn, and returned."""
    num_inference_steps: Annotated[int, Field(ge=1, le=LARGEST_STEPS)] | None = None
    """Denoising steps."""
    guidance_scale: Annotated[float, Field(ge=0, le=LARGEST_GUIDANCE, allow_inf_nan=False)] | None = None
    """Weight of the prompt; no guidance up to 1."""
    scheduler: SchedulerName | None = None
    """The sampler."""
    batch: Annotated[int, Field(ge=1)] | None = None
    """Pins the request to the declared bucket of this batch; absent: the one that costs least."""
    snap: bool | None = None
    """True takes the nearest declared size instead of refusing another one."""
    original_size: str | None = None
    """`WIDTHxHEIGHT` that the model is told the picture had before cropping; default its size."""
    crop: tuple[Coordinate, Coordinate] | None = None
    """Top and left of the crop that the model is told; default [0, 0]."""
    target_size: str | None = None
    """`WIDTHxHEIGHT` that the model is told the picture has; default its size."""
    negative_original_size: str | None = None
    """The same for the unconditional rows; goes with `negative_target_size`."""
    negative_crop: tuple[Coordinate, Coordinate] | None = None
    """The same for the unconditional rows."""
    negative_target_size: str | None = None
    """The same for the unconditional rows; goes with `negative_original_size`."""
    adapters: Annotated[list[AdapterChoice], Field(max_length=8)] | None = None
    """LoRAs, each by name with a scale."""
    refiner: bool | None = None
    """Whether the refiner takes the last steps; default: where there is one."""
    progress: bool | None = None
    """With `stream`: an event for every step too."""

    @field_validator("crop", "negative_crop", mode="before")
    @classmethod
    def _as_pair(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator(*_MEANINGLESS)
    @classmethod
    def _means_nothing(cls, value: Any, info: Any) -> Any:
        return _neutral(value, *_MEANINGLESS[info.field_name])

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise PydanticCustomError("blank", "is blank; it must say what the picture shows")
        return value

    @model_validator(mode="after")
    def _streams_one_picture(self) -> "ImageRequest":
        if self.stream and self.n not in (None, 1):
            raise _combination("n", "n must be 1 with stream: events do not say which picture they show")
        if not self.stream and (self.partial_images or self.progress):
            name = "partial_images" if self.partial_images else "progress"
            raise _combination(name, f"{name} needs stream: true")
        if self.stream and self.response_format == "url":
            raise _combination("response_format", "response_format must be b64_json with stream")
        return self


class GenerationRequest(ImageRequest):
    """The body of `POST /v1/images/generations`."""


class EditRequest(ImageRequest):
    """The body of `POST /v1/images/edits`: a form with files, or JSON with data URLs."""

    image: Annotated[str, Field(min_length=1)]
    """The picture to start from: a PNG, JPEG or WebP file, in JSON as a data URL; scaled and cropped to the size."""
    mask: str | None = None
    """A PNG of the image's size: what is transparent is painted anew, the rest is kept."""
    strength: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    """Share of the steps that are taken; default 0.75, with a mask 1."""
    input_fidelity: Any = None
    """No meaning for SDXL; `strength` has."""
    markup: Any = None
    """No meaning for SDXL."""

    @field_validator(*_MEANINGLESS_FOR_EDITS)
    @classmethod
    def _means_nothing_here(cls, value: Any, info: Any) -> Any:
        return _neutral(value, *_MEANINGLESS_FOR_EDITS[info.field_name])


def _neutral(value: Any, neutral: tuple[Any, ...], advice: str) -> Any:
    if value is None or any(type(value) is type(allowed) and value == allowed for allowed in neutral):
        return value
    raise PydanticCustomError("unsupported", "is not supported: {advice}", {"advice": advice})


def _combination(param: str, sentence: str) -> PydanticCustomError:
    return PydanticCustomError("combination", "{sentence}", {"sentence": sentence, "param": param})
