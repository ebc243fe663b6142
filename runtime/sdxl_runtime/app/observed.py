"""Counts and logs every generation request, one line each, and bounds its body."""

import logging
import time
from typing import Any

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdxl_runtime.app.service import Service
from sdxl_runtime.uploads import LARGEST_FILE

_LARGEST_BODIES = {"/v1/images/generations": 256 * 1024, "/v1/images/edits": 4 * LARGEST_FILE}
"""Bytes by path: in JSON, two pictures take a third more than their files."""

log = logging.getLogger(__name__)


class Observed:
    """Plain ASGI around the public app: middleware on top of requests would hide a client that goes away."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._metrics = service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        largest = _LARGEST_BODIES.get(scope["path"]) if scope["type"] == "http" else None
        if largest is None:
            await self._app(scope, receive, send)
            return
        facts: dict[str, Any] = {"code": 500}
        scope["sdxl.facts"] = facts
        began, size = time.perf_counter(), 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > largest:
                raise HTTPException(413, f"the body is larger than {largest} bytes")
            return message

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                facts["code"] = message["status"]
            await send(message)

        try:
            await self._app(scope, bounded, noted)
        finally:
            self._metrics.requested(facts["code"])
            log.info("request", extra={"facts": {**facts, "seconds": round(time.perf_counter() - began, 3)}})
