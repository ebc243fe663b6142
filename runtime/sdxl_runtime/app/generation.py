"""A request for pictures: admission, a task that paints, and who waits for it; or the stream of its events."""

import asyncio
import hashlib
import logging
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from sdxl_runtime.app import errors, headers
from sdxl_runtime.app.owned import JOBS, job_response
from sdxl_runtime.app.painting import Painting, Upload, accept, response
from sdxl_runtime.app.service import Service
from sdxl_runtime.app.streaming import Inbox, Stream
from sdxl_runtime.app.tasks import Task
from sdxl_runtime.jobs import Abandoned, Outcome, Ticket
from sdxl_runtime.protocol import ImageRequest

_CLIENT_GONE = 499

log = logging.getLogger(__name__)


async def generate(service: Service, body: ImageRequest, request: Request, upload: Upload | None = None) -> Response:
    """Answer with the pictures, with the stream of their events, or with the job that paints them.

    Raises:
        APIError: it is refused, it failed, or its time ran out.
    """
    key, detached = headers.idempotency_key(request.headers), headers.responds_async(request.headers)
    if body.stream:
        _refuse_with_stream(key, detached)
        return await _stream(service, body, request, upload)

    if upload is not None:  # its files are in `upload`: the texts they came as need not wait in the queue too
        body = body.model_copy(update={"image": "", "mask": None})

    async def start() -> Task:
        painting = await accept(service, body, upload)
        note_job(request, service, painting)
        return _begin(service, painting, str(request.base_url).rstrip("/"))

    if key is None:
        task = await start()
    else:
        fingerprint = await _fingerprint(body, upload)
        task = await service.tasks.once((request.scope["sdxl.holder"], key), fingerprint, start)
    if not detached:
        return await _answer(service, task, request)
    task.detached = True
    if task.error is not None:
        return _failure(task.error)
    note(request, job=task.key.hex())
    answer = job_response(task, 202)
    answer.headers.update({"Location": f"{JOBS}/{task.token}", "Preference-Applied": "respond-async"})
    return answer


async def _stream(service: Service, body: ImageRequest, request: Request, upload: Upload | None) -> Response:
    inbox = Inbox()
    painting = await accept(service, body, upload, inbox.tell)
    note_job(request, service, painting)
    return Stream(service, painting, inbox)


def _refuse_with_stream(key: str | None, detached: bool) -> None:
    for name, sent in (("Prefer: respond-async", detached), ("Idempotency-Key", key is not None)):
        if sent:
            raise errors.APIError(
                400, f"{name} does not go with stream: a stream is its client's alone", "invalid_combination", "stream"
            )


def _begin(service: Service, painting: Painting, address: str) -> Task:
    ticket = painting.ticket
    task = service.tasks.add(ticket, ticket.deadline - service.batcher.clock())
    task.runner = asyncio.create_task(_run(service, painting, task, address))
    return task


async def _run(service: Service, painting: Painting, task: Task, address: str) -> None:
    """From the ticket to the answer, whoever waits for it. Every way out of here ends the task."""
    answer, error = None, errors.APIError(500, "the server failed on this request", "internal_error")
    try:
        outcome = await _outcome(service, painting.ticket)
        body = await response(service, painting, outcome, address)
        answer = body.model_dump_json(exclude_none=True).encode()
        task.facts.update(
            bucket=outcome.bucket.key, backend=body.sdxl.backend, queue_seconds=body.sdxl.seconds["queue"]
        )
    except Exception as raised:
        error = errors.from_exception(raised, service.settings)
    finally:
        service.tasks.end(task, answer, None if answer is not None else error)
        if task.detached:
            log.info("job", extra={"facts": {"job": task.key.hex(), "status": task.status, **task.facts}})


async def _outcome(service: Service, ticket: Ticket) -> Outcome:
    """What comes of a ticket.

    Raises:
        Abandoned: its time ran out.
    """
    result = asyncio.wrap_future(ticket.result)
    try:
        await asyncio.wait((result,), timeout=ticket.deadline - service.batcher.clock())
        if not result.done():
            raise Abandoned
        return result.result()
    finally:
        if not result.done():
            result.cancel()
            service.batcher.abandon(ticket)


async def _answer(service: Service, task: Task, request: Request) -> Response:
    """The answer of a task; the last one who waits for it and goes takes it along."""
    task.waiters += 1
    gone, ended = asyncio.create_task(_disconnected(request)), asyncio.create_task(task.ended.wait())
    try:
        await asyncio.wait((gone, ended), return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        ended.cancel()
        task.waiters -= 1
        answered = task.ended.is_set()
        if not answered and not task.detached and task.waiters == 0:
            service.tasks.cancel(task)
    if not answered:
        return Response(status_code=_CLIENT_GONE)
    if task.error is not None:
        return _failure(task.error)
    note(request, **task.facts)
    service.tasks.find(task.key)  # it counts as fetched
    return Response(task.answer, media_type="application/json")


def _failure(error: errors.APIError) -> Response:
    """The answer of a task that is not a success. NB: a raised exception holds on to all that was around it."""
    return JSONResponse(error.body.model_dump(), error.status, error.headers)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _fingerprint(body: ImageRequest, upload: Upload | None) -> bytes:
    """Equal for requests that ask for the same, in JSON or as a form, whatever the order of their members."""
    digest = hashlib.sha256(body.model_dump_json(exclude_none=True, exclude={"image", "mask"}).encode())
    if upload is not None:  # megabytes: not in the event loop
        for content in (upload.image, upload.mask or b""):
            digest.update((await asyncio.to_thread(hashlib.sha256, content)).digest())
    return digest.digest()


def note_job(request: Request, service: Service, painting: Painting) -> None:
    """Say in the request's log line what it asks for."""
    job = painting.ticket.job
    note(request, size=job.size, n=job.n, steps=job.steps, scheduler=job.scheduler)
    if service.settings.log_prompts:
        note(request, prompt=job.prompt, negative_prompt=job.negative_prompt)


def note(request: Request, **facts: Any) -> None:
    """Add to the request's log line; the prompt only where the settings ask for it."""
    request.scope["sdxl.facts"].update(facts)
