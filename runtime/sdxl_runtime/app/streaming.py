"""A request as server-sent events: previews and steps as they happen, then the picture (OpenAI's event names)."""

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from sdxl_runtime import images
from sdxl_runtime.app import errors
from sdxl_runtime.app.painting import Painting, response
from sdxl_runtime.app.service import Service
from sdxl_runtime.jobs import Abandoned, Event, Outcome, Partial, Step
from sdxl_runtime.protocol import CompletedEvent, ErrorEvent, PartialEvent, ProgressEvent

KEEP_ALIVE_SECONDS = 10.0
"""A comment is sent after this long without an event, so that no proxy takes the stream for dead."""
_PREVIEW_QUALITY = 80


class Inbox:
    """What the engine's thread tells, for one reader in the event loop it is made in."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[Event | Outcome | BaseException] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def tell(self, event: Event | Outcome | BaseException) -> None:
        """Safe from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def next(self) -> Event | Outcome | BaseException | None:
        """The next event; None after some seconds without one."""
        try:
            return await asyncio.wait_for(self._events.get(), KEEP_ALIVE_SECONDS)
        except TimeoutError:
            return None


class Stream(StreamingResponse):
    """The events of one painting as they happen; when nobody reads any more, its ticket is abandoned.

    `inbox` has been told of every event since the ticket was accepted.
    """

    def __init__(self, service: Service, painting: Painting, inbox: Inbox) -> None:
        self._service = service
        self._painting = painting
        self._inbox = inbox
        painting.ticket.result.add_done_callback(
            lambda result: inbox.tell(
                Abandoned() if result.cancelled() else result.exception() or result.result(),
            )
        )
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(self._chunks(), media_type="text/event-stream", headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until the picture, an error, or the client's end."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._service.batcher.abandon(self._painting.ticket)

    async def _chunks(self) -> AsyncIterator[bytes]:
        progress = self._painting.request.progress
        if progress:
            yield self._waiting()
        while True:
            match await self._inbox.next():
                case None:
                    yield b": keep-alive\n\n"
                case Partial() as event:
                    yield await self._partial(event)
                case Step() as event:
                    if progress:
                        yield self._step(event)
                case Outcome() as outcome:
                    yield await self._completed(outcome)
                    return
                case BaseException() as error:
                    yield _sent(ErrorEvent(error=errors.from_exception(error, self._service.settings).body.error))
                    return

    async def _partial(self, event: Partial) -> bytes:
        painting = self._painting
        file = await asyncio.to_thread(images.encode, event.picture, painting.output_format, _PREVIEW_QUALITY)
        return _sent(
            PartialEvent(
                type=f"{painting.event}.partial_image",
                b64_json=base64.b64encode(file).decode(),
                created_at=int(time.time()),
                output_format=painting.output_format,
                partial_image_index=event.index,
                quality=painting.quality or "auto",
                size=painting.ticket.job.size,
            )
        )

    def _waiting(self) -> bytes:
        work = self._service.batcher.load().queued_seconds
        return self._progress(True, Step(0, self._painting.ticket.job.evaluations), 0.0, work)

    def _step(self, event: Step) -> bytes:
        ticket = self._painting.ticket
        pace = (self._service.batcher.clock() - ticket.started_at) / event.done
        return self._progress(False, event, pace, pace * (event.of - event.done))

    def _progress(self, queued: bool, step: Step, pace: float, remaining: float) -> bytes:
        return _sent(
            ProgressEvent(
                type=f"{self._painting.event}.progress",
                queued=queued,
                step=step.done,
                steps=step.of,
                seconds_per_step=round(pace, 4),
                remaining_seconds=round(remaining, 3),
            )
        )

    async def _completed(self, outcome: Outcome) -> bytes:
        answer = await response(self._service, self._painting, outcome)
        picture = answer.data[0]
        return _sent(
            CompletedEvent(
                type=f"{self._painting.event}.completed",
                b64_json=picture.b64_json or "",
                created_at=answer.created,
                output_format=answer.output_format,
                quality=answer.quality or "auto",
                safety_identifier=answer.safety_identifier,
                size=answer.size,
                usage=answer.usage,
                seed=picture.seed,
                sdxl=answer.sdxl,
            )
        )


def _sent(event: PartialEvent | CompletedEvent | ProgressEvent | ErrorEvent) -> bytes:
    return f"event: {event.type}\ndata: {event.model_dump_json(exclude_none=True)}\n\n".encode()
