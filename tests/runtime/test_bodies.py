"""The bodies of all requests in progress are bounded together: many large uploads cannot fill the memory."""

import asyncio
from typing import Any

import httpx
import pytest

from sdxl_runtime.app import create_public_app, observed
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.serving import create_service
from sdxl_runtime.settings import Backend, Settings

SETTINGS = Settings(backend=Backend.SIMULATED, buckets=(Bucket(64, 64),))


async def slow(size: int, gate: asyncio.Event) -> Any:
    yield b'{"prompt": "' + b"x" * size
    await gate.wait()
    yield b'"}'


async def test_a_body_too_many_is_429_until_others_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observed, "LARGEST_TOTAL", 10_000)
    transport = httpx.ASGITransport(create_public_app(create_service(SETTINGS)))
    gate = asyncio.Event()
    headers = {"Content-Type": "application/json"}
    async with httpx.AsyncClient(transport=transport, base_url="http://studio") as client:

        async def post(size: int) -> httpx.Response:
            return await client.post("/v1/images/generations", content=slow(size, gate), headers=headers)

        first = asyncio.create_task(post(6000))
        await asyncio.sleep(0.05)
        refused = await post(6000)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert refused.json()["error"]["type"] == "rate_limit_error"
        gate.set()
        assert (await first).status_code == 400, "its prompt is too long, and that was all"
        assert (await post(6000)).status_code == 400
