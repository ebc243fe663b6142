"""From a well-formed request to a `Job` of this service, or a sentence that says what would be right. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sdxl_runtime.buckets import Bucket, buckets_of_size, nearest_sizes, parse_size
from sdxl_runtime.jobs import Adapter, Job, MicroConditioning, Start
from sdxl_runtime.protocol import QUALITY_STEPS, ImageRequest
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
class Offer:
    """What the loaded model can do, as far as admission asks."""

    count_tokens: Callable[[str], int]
    """Tokens of a text, with its start and its end."""
    adapters: Sequence[str]
    """Names of LoRAs."""
    refines: bool
    """Whether there is a refiner."""


def job_from(
    request: ImageRequest,
    settings: Settings,
    offer: Offer,
    draw_seed: Callable[[], int],
    start: Start | None = None,
) -> Job:
    """The job of a request; `start` is an edit's, its picture already of the size of `bucket_candidates`.

    Raises:
        RequestError: naming the field, its value and what would be right.
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
    scale = request.guidance_scale
    job = Job(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        buckets=_that_hold_the_text(request, bucket_candidates(request, settings), offer),
        n=request.n or 1,
        seed=draw_seed() if request.seed is None else request.seed,
        steps=_steps(request, settings),
        guidance_scale=settings.default_guidance_scale if scale is None else scale,
        scheduler=request.scheduler or settings.default_scheduler,
        prompt_2=request.prompt_2,
        negative_prompt_2=request.negative_prompt_2,
        micro=_micro(request),
        adapters=_adapters(request, offer),
        start=start,
        refine=_refine(request, offer),
        partial_images=request.partial_images or 0,
    )
    if start is not None and job.steps_taken < 1:
        raise RequestError(
            f"strength {start.strength:g} of {job.steps} steps leaves none to take; it must be at least "
            f"{1 / job.steps:.3g}",
            "strength",
        )
    return job


def bucket_candidates(request: ImageRequest, settings: Settings) -> list[Bucket]:
    """The declared buckets of the request's size, and of its batch if it names one.

    Raises:
        RequestError: the size or the batch is not declared; the message has the nearest.
    """
    buckets = _of_size(request.size or "auto", bool(request.snap), settings)
    if request.batch is None:
        return buckets
    named = [bucket for bucket in buckets if bucket.batch == request.batch]
    if not named:
        batches = ", ".join(str(batch) for batch in sorted({bucket.batch for bucket in buckets}))
        raise RequestError(
            f"batch {request.batch} is not declared for {buckets[0].size}; declared are {batches}", "batch"
        )
    return named


def _of_size(size: str, snap: bool, settings: Settings) -> list[Bucket]:
    found = buckets_of_size(size, settings.buckets)
    if found:
        return found
    parsed = parse_size(size)
    if parsed is None:
        sizes = sorted({bucket.size for bucket in settings.buckets})
        raise RequestError(f"size {shorten(size)} is no size; it must be 'auto' or one of {', '.join(sizes)}", "size")
    nearest = nearest_sizes(*parsed, settings.buckets)
    if snap:
        return buckets_of_size(nearest[0], settings.buckets)
    raise RequestError(
        f"size {shorten(size)} is not served here; the nearest are {', '.join(nearest)}; snap: true takes the first",
        "size",
    )


_TEXTS = ("prompt", "prompt_2", "negative_prompt", "negative_prompt_2")


def _that_hold_the_text(request: ImageRequest, buckets: Sequence[Bucket], offer: Offer) -> tuple[Bucket, ...]:
    """The buckets that attend to as many tokens as the longest text has."""
    counts = {name: offer.count_tokens(text) for name in _TEXTS if (text := getattr(request, name))}
    longest = max(counts, key=lambda name: counts[name], default="prompt")
    count = counts.get(longest, 0)
    fitting = tuple(bucket for bucket in buckets if bucket.token_limit >= count)
    if not fitting:
        limit = max(bucket.token_limit for bucket in buckets)
        raise RequestError(
            f"{longest} has {count} tokens with its start and end; at most {limit} fit in {buckets[0].size}",
            longest,
            "string_above_max_length",
        )
    return fitting


def _steps(request: ImageRequest, settings: Settings) -> int:
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


def _micro(request: ImageRequest) -> MicroConditioning:
    """Sizes come as `WIDTHxHEIGHT` and are kept as height and width."""

    def of(name: str) -> tuple[int, int] | None:
        text = getattr(request, name)
        if text is None:
            return None
        parsed = parse_size(text)
        if parsed is None:
            raise RequestError(f"{name} {shorten(text)} is no size; it must be like 1024x1024", name)
        return parsed[1], parsed[0]

    pair = (request.negative_original_size, request.negative_target_size)
    if (pair[0] is None) != (pair[1] is None):
        missing = "negative_original_size" if pair[0] is None else "negative_target_size"
        raise RequestError(
            f"{missing} is missing; negative_original_size and negative_target_size go together",
            missing,
        )
    if request.negative_crop is not None and pair[0] is None:
        raise RequestError(
            "negative_crop counts only beside negative_original_size and negative_target_size", "negative_crop"
        )
    return MicroConditioning(
        original_size=of("original_size"),
        crop=request.crop or (0, 0),
        target_size=of("target_size"),
        negative_original_size=of("negative_original_size"),
        negative_crop=request.negative_crop or (0, 0),
        negative_target_size=of("negative_target_size"),
    )


def _adapters(request: ImageRequest, offer: Offer) -> tuple[Adapter, ...]:
    wanted = request.adapters or []
    for adapter in wanted:
        if adapter.name not in offer.adapters:
            there = ", ".join(offer.adapters) or "none"
            raise RequestError(
                f"adapters names {shorten(adapter.name)}, which is not served here; there is {there}", "adapters"
            )
    if len({adapter.name for adapter in wanted}) != len(wanted):
        raise RequestError("adapters names one twice; give each name once, with its scale", "adapters")
    used = [Adapter(adapter.name, adapter.scale) for adapter in wanted if adapter.scale != 0]
    return tuple(sorted(used, key=lambda adapter: adapter.name))


def _refine(request: ImageRequest, offer: Offer) -> bool:
    if request.refiner and not offer.refines:
        raise RequestError("refiner is true, but this service has none; leave it out", "refiner")
    return offer.refines if request.refiner is None else request.refiner


def shorten(value: object, limit: int = 60) -> str:
    """A value as an error message shows it."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
