"""From a well-formed request to a `Job` of this service, or a sentence that says what would be right. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sdxl_runtime.buckets import Bucket, Cost, buckets_of_size, cheapest, nearest_sizes, parse_size
from sdxl_runtime.jobs import Job
from sdxl_runtime.protocol import QUALITY_STEPS, GenerationRequest
from sdxl_runtime.settings import Settings


class RequestError(ValueError):
    """A request this service cannot fulfil as it is; `status` is the HTTP status."""

    def __init__(self, message: str, param: str | None, code: str = "invalid_value", status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class Tokens:
    """How a text is measured: the model's limit, and its counting."""

    limit: int
    count: Callable[[str], int]


def job_from(
    request: GenerationRequest,
    settings: Settings,
    costs: Mapping[Bucket, Cost],
    tokens: Tokens,
    draw_seed: Callable[[], int],
) -> Job:
    """The job of a request, pinned to the bucket of its size that finishes it first.

    Raises:
        RequestError: the model, size, prompt or a combination is not served here.
    """
    if request.model is not None and request.model != settings.model_name:
        raise RequestError(
            f"the model {shorten(request.model)} does not exist; {settings.model_name!r} is served here",
            "model",
            "model_not_found",
            404,
        )
    if request.output_compression not in (None, 100) and (request.output_format or "png") == "png":
        raise RequestError(
            f"output_compression {request.output_compression} has no meaning for png, which is always exact; "
            "use 100, or output_format jpeg or webp",
            "output_compression",
        )
    for name, text in (("prompt", request.prompt), ("negative_prompt", request.negative_prompt or "")):
        count = tokens.count(text)
        if count > tokens.limit:
            raise RequestError(
                f"{name} has {count} tokens with its start and end; at most {tokens.limit} fit",
                name,
                "string_above_max_length",
            )
    n, steps = request.n or 1, _steps(request, settings)
    scale = request.guidance_scale
    return Job(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        bucket=cheapest(n, steps, _candidates(request, settings), costs),
        n=n,
        seed=draw_seed() if request.seed is None else request.seed,
        steps=steps,
        guidance_scale=settings.default_guidance_scale if scale is None else scale,
        scheduler=request.scheduler or settings.default_scheduler,
    )


def _steps(request: GenerationRequest, settings: Settings) -> int:
    if request.quality is None or request.quality == "auto":
        return request.num_inference_steps or settings.default_steps
    steps = QUALITY_STEPS[request.quality]
    if request.num_inference_steps not in (None, steps):
        raise RequestError(
            f"quality {request.quality!r} means {steps} steps and num_inference_steps is "
            f"{request.num_inference_steps}; send one of them",
            "quality",
        )
    return steps


def _candidates(request: GenerationRequest, settings: Settings) -> list[Bucket]:
    size = request.size or "auto"
    found = buckets_of_size(size, settings.buckets)
    if found:
        return found
    parsed = parse_size(size)
    if parsed is None:
        sizes = sorted({bucket.size for bucket in settings.buckets})
        raise RequestError(f"size {shorten(size)} is no size; it must be 'auto' or one of {', '.join(sizes)}", "size")
    nearest = nearest_sizes(*parsed, settings.buckets)
    raise RequestError(f"size {shorten(size)} is not served here; the nearest are {', '.join(nearest)}", "size")


def shorten(value: object, limit: int = 60) -> str:
    """A value as an error message shows it."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
