"""The client of the runtime's internal port, against a real server on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from sdxl_operator import runtime_client
from sdxl_operator.naming import Object
from sdxl_operator.runtime_client import HttpRuntime

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Answer], Awaitable[None]]

POD: Object = {"metadata": {"name": "pod"}, "status": {"podIP": "127.0.0.1"}}


@pytest.fixture
async def serve(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    """`await serve(answer)`: every path of the internal port answers so."""
    runners: list[web.AppRunner] = []

    async def start(answer: Answer) -> None:
        application = web.Application()
        application.router.add_get("/{path}", answer)
        runner = web.AppRunner(application)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        monkeypatch.setattr(runtime_client, "INTERNAL_PORT", runner.addresses[0][1])

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[HttpRuntime]:
    runtime = HttpRuntime(timeout_seconds=0.5)
    yield runtime
    await runtime.close()


async def test_readiness_and_progress_are_read_from_their_paths(serve: Serve, client: HttpRuntime) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"path": request.path})

    await serve(answer)
    assert await client.readiness(POD) == {"path": "/readyz"}
    assert await client.progress(POD) == {"path": "/progress"}


async def test_a_503_is_an_answer_like_any_other(serve: Serve, client: HttpRuntime) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"state": "Loading"}, status=503)

    await serve(answer)
    assert await client.readiness(POD) == {"state": "Loading"}


@pytest.mark.parametrize("body", [b"", b"not json", b"[1]", b'"words"', b"\xff\xfe{}", b"{", b"null"])
async def test_garbage_is_no_answer(serve: Serve, client: HttpRuntime, body: bytes) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    await serve(answer)
    assert await client.readiness(POD) is None


async def test_json_is_read_whatever_its_content_type(serve: Serve, client: HttpRuntime) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b'{"state": "Ready"}', content_type="text/plain")

    await serve(answer)
    assert await client.readiness(POD) == {"state": "Ready"}


async def test_a_server_that_takes_too_long_is_no_answer(serve: Serve, client: HttpRuntime) -> None:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(3)
        return web.json_response({})

    await serve(answer)
    begun = asyncio.get_running_loop().time()
    assert await client.readiness(POD) is None
    assert asyncio.get_running_loop().time() - begun < 2


async def test_a_connection_that_breaks_off_is_no_answer(serve: Serve, client: HttpRuntime) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    await serve(answer)
    assert await client.readiness(POD) is None


async def test_a_port_where_nobody_listens_is_no_answer(client: HttpRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(runtime_client, "INTERNAL_PORT", free.getsockname()[1])
        assert await client.readiness(POD) is None


@pytest.mark.parametrize("status", [{}, {"podIP": ""}])
async def test_a_pod_without_an_address_is_not_asked(client: HttpRuntime, status: Object) -> None:
    assert await client.readiness({"metadata": {"name": "pod"}, "status": status}) is None
    assert await client.readiness({"metadata": {"name": "pod"}}) is None


async def test_an_address_of_the_newer_kind_is_asked_in_brackets(
    client: HttpRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n" + b'{"six": 6}')
        await writer.drain()
        writer.close()

    try:
        server = await asyncio.start_server(hello, "::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    monkeypatch.setattr(runtime_client, "INTERNAL_PORT", server.sockets[0].getsockname()[1])
    async with server:
        assert await client.readiness({"metadata": {"name": "pod"}, "status": {"podIP": "::1"}}) == {"six": 6}
