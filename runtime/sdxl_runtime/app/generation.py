"""A request for pictures that waits for them: admission, the wait for their end or the client's, the answer."""

import asyncio
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from sdxl_runtime.app import errors
from sdxl_runtime.app.painting import Painting, Upload, accept, response
from sdxl_runtime.app.service import Service
from sdxl_runtime.app.streaming import Inbox, Stream
from sdxl_runtime.jobs import Abandoned, Outcome
from sdxl_runtime.protocol import ImageRequest

_CLIENT_GONE = 499


async def generate(service: Service, body: ImageRequest, request: Request, upload: Upload | None = None) -> Response:
    """Answer with the pictures, or with the stream of their events.

    Raises:
        APIError: it is refused, it failed, or its time ran out.
    """
    if body.stream:
        inbox = Inbox()
        painting = await accept(service, body, upload, inbox.tell)
        _note_job(request, service, painting)
        return Stream(service, painting, inbox)
    painting = await accept(service, body, upload)
    _note_job(request, service, painting)
    ticket = painting.ticket
    try:
        outcome = await _outcome(service, painting, request)
    finally:
        if not ticket.result.done() or ticket.result.cancelled():
            service.batcher.abandon(ticket)
    if outcome is None:
        return Response(status_code=_CLIENT_GONE)
    answer = await response(service, painting, outcome)
    note(request, bucket=outcome.bucket.key, backend=answer.sdxl.backend, queue_seconds=answer.sdxl.seconds["queue"])
    return JSONResponse(answer.model_dump(exclude_none=True))


async def _outcome(service: Service, painting: Painting, request: Request) -> Outcome | None:
    """What comes of a ticket; None where the client went away before."""
    ticket = painting.ticket
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
    except Exception as error:  # of Abandoned the engine or the queue may have known first
        raise errors.from_exception(error, service.settings) from error
    finally:
        gone.cancel()
        result.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _note_job(request: Request, service: Service, painting: Painting) -> None:
    job = painting.ticket.job
    note(request, size=job.size, n=job.n, steps=job.steps, scheduler=job.scheduler)
    if service.settings.log_prompts:
        note(request, prompt=job.prompt, negative_prompt=job.negative_prompt)


def note(request: Request, **facts: Any) -> None:
    """Add to the request's log line; the prompt only where the settings ask for it."""
    request.scope["sdxl.facts"].update(facts)
