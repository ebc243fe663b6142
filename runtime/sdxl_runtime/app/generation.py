"""One generation request: admission, the wait for its pictures or its end, the answer."""

import asyncio
import base64
import secrets
import time
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from sdxl_runtime import images
from sdxl_runtime.admission import RequestError, Tokens, job_from
from sdxl_runtime.app import errors
from sdxl_runtime.app.service import Service
from sdxl_runtime.batcher import Closed, QueueFull
from sdxl_runtime.health import State
from sdxl_runtime.jobs import LARGEST_SEED, Abandoned, Job, Outcome, Ticket
from sdxl_runtime.protocol import Details, Evaluations, GenerationRequest, GenerationResponse, ImageData

_CLIENT_GONE = 499
_QUALITY_NAMES = {"low": "low", "medium": "medium", "standard": "medium", "high": "high", "hd": "high"}


async def generate(service: Service, body: GenerationRequest, request: Request) -> Response:
    ticket = _admit(service, body)
    job = ticket.job
    _note(
        request,
        bucket=job.bucket.key,
        n=job.n,
        steps=job.steps,
        scheduler=job.scheduler,
        backend=service.health.backend(job.bucket),
    )
    try:
        outcome = await _outcome(service, ticket, request)
    finally:
        if not ticket.result.done() or ticket.result.cancelled():
            service.batcher.abandon(ticket)
    if outcome is None:
        return Response(status_code=_CLIENT_GONE)
    began = time.perf_counter()
    data = await asyncio.to_thread(_encode, body, job, outcome)
    encode_image = time.perf_counter() - began
    total = service.batcher.clock() - ticket.accepted_at
    seconds = {**outcome.seconds, "encode_image": encode_image, "total": total}
    service.metrics.finished(job.bucket.key, job.n, job.evaluations, seconds)
    _note(request, evaluations=outcome.evaluations, queue_seconds=round(seconds["queue"], 3))
    return JSONResponse(_response(service, body, job, outcome, seconds, data).model_dump(exclude_none=True))


def _admit(service: Service, body: GenerationRequest) -> Ticket:
    painter = service.engine.painter
    if service.health.state is not State.READY or painter is None:
        raise errors.unavailable(service.health.state)
    tokens = Tokens(painter.token_limit, painter.count_tokens)
    try:
        costs = service.engine.costs
        job = job_from(body, service.settings, costs, tokens, lambda: secrets.randbelow(LARGEST_SEED + 1))
        return service.batcher.submit(job, costs[job.bucket].seconds(job.bucket, job.n, job.steps))
    except (RequestError, QueueFull, Closed) as error:
        raise errors.from_exception(error) from error


async def _outcome(service: Service, ticket: Ticket, request: Request) -> Outcome | None:
    """What comes of a ticket; None where the client went away before."""
    result = asyncio.wrap_future(ticket.result)
    gone = asyncio.create_task(_disconnected(request))
    left = ticket.deadline - service.batcher.clock()
    try:
        await asyncio.wait((result, gone), timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if result.done():
            return result.result()
        if gone.done():
            return None
        raise Abandoned
    except Abandoned:  # the engine or the queue may have noticed first
        allowed = service.settings.request_timeout_seconds
        raise errors.APIError(504, f"the request took longer than {allowed:g} s", "timeout") from None
    except Exception as error:
        raise errors.from_exception(error) from error
    finally:
        gone.cancel()
        result.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _encode(body: GenerationRequest, job: Job, outcome: Outcome) -> list[ImageData]:
    quality = 100 if body.output_compression is None else body.output_compression
    return [
        ImageData(
            b64_json=base64.b64encode(images.encode(image, body.output_format or "png", quality)).decode(),
            seed=job.seed_of(index),
        )
        for index, image in enumerate(outcome.images)
    ]


def _response(
    service: Service,
    body: GenerationRequest,
    job: Job,
    outcome: Outcome,
    seconds: dict[str, float],
    data: list[ImageData],
) -> GenerationResponse:
    return GenerationResponse(
        created=int(time.time()),
        data=data,
        output_format=body.output_format or "png",
        quality=_QUALITY_NAMES.get(body.quality or "auto"),
        safety_identifier=body.safety_identifier or body.user or None,
        size=job.bucket.size,
        sdxl=Details(
            bucket=job.bucket.key,
            backend=service.health.backend(job.bucket),
            identity=service.health.identity,
            scheduler=job.scheduler,
            num_inference_steps=job.steps,
            guidance_scale=job.guidance_scale,
            evaluations=Evaluations(executed=outcome.evaluations, nominal=job.evaluations),
            seconds={phase: round(value, 4) for phase, value in seconds.items()},
        ),
    )


def _note(request: Request, **facts: Any) -> None:
    """Add to the request's log line. Never the prompt."""
    request.scope["sdxl.facts"].update(facts)
