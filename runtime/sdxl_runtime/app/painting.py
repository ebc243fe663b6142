"""One request from admission to its pictures as files: what plain answers, streams and jobs have in common."""

import asyncio
import base64
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sdxl_runtime import images
from sdxl_runtime.admission import Offer, RequestError, bucket_candidates, job_from
from sdxl_runtime.app import errors, tracing
from sdxl_runtime.app.pictures import picture_of
from sdxl_runtime.app.service import Service
from sdxl_runtime.batcher import Closed, QueueFull
from sdxl_runtime.health import State
from sdxl_runtime.jobs import LARGEST_SEED, Event, Job, Outcome, Start, Ticket
from sdxl_runtime.painter import Painter
from sdxl_runtime.protocol import (
    AdapterChoice,
    Details,
    EditRequest,
    Evaluations,
    GenerationResponse,
    ImageData,
    ImageRequest,
    Usage,
    UsageDetails,
)
from sdxl_runtime.uploads import fit, read_image, read_mask

DEFAULT_STRENGTH = 0.75
"""Of an edit without a mask; with one, all that the mask lets through is painted anew."""
_QUALITY_NAMES = {"low": "low", "medium": "medium", "standard": "medium", "high": "high", "hd": "high"}


@dataclass(frozen=True, slots=True)
class Upload:
    """The files of an edit, as they came."""

    image: bytes
    mask: bytes | None = None


@dataclass(frozen=True, slots=True)
class Painting:
    """An accepted request."""

    request: ImageRequest
    ticket: Ticket

    @property
    def event(self) -> str:
        """The first part of its events' names."""
        return "image_edit" if isinstance(self.request, EditRequest) else "image_generation"

    @property
    def output_format(self) -> str:
        """`png`, `jpeg` or `webp`."""
        return self.request.output_format or "png"

    @property
    def quality(self) -> str | None:
        """The quality that was asked for, in today's words; None where the service's default counts."""
        return _QUALITY_NAMES.get(self.request.quality or "auto")


async def accept(
    service: Service,
    request: ImageRequest,
    upload: Upload | None = None,
    listener: Callable[[Event], None] | None = None,
) -> Painting:
    """Check a request, give it a job, and put that into the queue; `listener` is told of every event.

    Raises:
        APIError: it cannot be fulfilled as it is, or not now.
    """
    painter = ready_painter(service)
    offer = Offer(painter.count_tokens, painter.adapters, painter.refines)
    try:
        start = None
        if isinstance(request, EditRequest) and upload is not None:
            start = await asyncio.to_thread(_start, service, request, upload)
        job = job_from(request, service.settings, offer, lambda: secrets.randbelow(LARGEST_SEED + 1), start)
        return Painting(request, service.batcher.submit(job, listener))
    except (RequestError, QueueFull, Closed) as error:
        raise errors.from_exception(error) from error


def ready_painter(service: Service) -> Painter:
    """The painter of a process that serves; while one drains, the queue says until when it takes work.

    Raises:
        APIError: 503, it loads or has failed.
    """
    painter = service.engine.painter
    if service.health.state not in (State.READY, State.DRAINING) or painter is None:
        raise errors.unavailable(service.health.state)
    return painter


def _start(service: Service, request: EditRequest, upload: Upload) -> Start:
    """Decode an edit's files and bring them to the size of its bucket."""
    image = read_image(upload.image, "image")
    mask = None if upload.mask is None else read_mask(upload.mask, image.size)
    wanted = request
    if request.size in (None, "auto"):
        wanted = request.model_copy(update={"size": f"{image.width}x{image.height}", "snap": True})
    bucket = bucket_candidates(wanted, service.settings)[0]
    strength = request.strength or (DEFAULT_STRENGTH if mask is None else 1.0)
    width, height = bucket.width, bucket.height
    return Start(fit(image, width, height), strength, None if mask is None else fit(mask, width, height))


async def response(service: Service, painting: Painting, outcome: Outcome, address: str = "") -> GenerationResponse:
    """The answer with the pictures as files, made beside the device's thread; counts the request as finished.

    `address` is the beginning of pictures' URLs, where they are asked for: where the client reaches this service.
    """
    began = time.perf_counter()
    data = await _data(service, painting, outcome, address)
    job = painting.ticket.job
    total = service.batcher.clock() - painting.ticket.accepted_at
    seconds = {**outcome.seconds, "encode_image": time.perf_counter() - began, "total": total}
    service.metrics.finished(outcome.bucket, job.n, job.evaluations, seconds)
    details = _details(service, job, outcome, seconds)
    if service.tracer_provider is not None:
        tracing.record(service.tracer_provider, job.n, details)
    return GenerationResponse(
        created=int(time.time()),
        data=data,
        output_format=painting.output_format,
        quality=painting.quality,
        safety_identifier=painting.request.safety_identifier or painting.request.user or None,
        size=job.size,
        usage=_usage(service, job),
        sdxl=details,
    )


async def _data(service: Service, painting: Painting, outcome: Outcome, address: str) -> list[ImageData]:
    seeds = [painting.ticket.job.seed_of(index) for index in range(len(outcome.images))]
    if painting.request.response_format == "url":
        made = await asyncio.to_thread(lambda: [picture_of(*file) for file in _files(painting, outcome)])
        urls = [address + service.pictures.add(picture) for picture in made]
        return [ImageData(url=url, seed=seed) for url, seed in zip(urls, seeds, strict=True)]
    texts = await asyncio.to_thread(lambda: [base64.b64encode(file).decode() for file, _ in _files(painting, outcome)])
    return [ImageData(b64_json=text, seed=seed) for text, seed in zip(texts, seeds, strict=True)]


def _files(painting: Painting, outcome: Outcome) -> Iterator[tuple[bytes, str]]:
    """Each picture as a file, with its format."""
    compression = painting.request.output_compression
    quality = 100 if compression is None else compression
    for image in outcome.images:
        yield images.encode(image, painting.output_format, quality), painting.output_format


def _usage(service: Service, job: Job) -> Usage:
    painter = service.engine.painter
    assert painter is not None
    tokens = sum(painter.count_tokens(text) for text in (job.prompt, job.negative_prompt) if text)
    return Usage(input_tokens=tokens, input_tokens_details=UsageDetails(text_tokens=tokens), total_tokens=tokens)


def _details(service: Service, job: Job, outcome: Outcome, seconds: dict[str, float]) -> Details:
    return Details(
        bucket=outcome.bucket.key,
        backend=service.health.backend(outcome.bucket),
        identity=service.health.identity,
        scheduler=job.scheduler,
        num_inference_steps=job.steps,
        guidance_scale=job.guidance_scale,
        adapters=[AdapterChoice(name=adapter.name, scale=adapter.scale) for adapter in job.adapters],
        refiner=job.refine,
        evaluations=Evaluations(executed=outcome.evaluations, nominal=job.evaluations),
        seconds={phase: round(value, 4) for phase, value in seconds.items()},
    )
