"""Two replicas with real sockets: what one holds is fetched through the other."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from sdxl_runtime.app import Service, create_internal_app, create_public_app
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.serving import create_service
from sdxl_runtime.settings import Backend, Settings
from sdxl_runtime.signing import Kind, Signer

KEY = b"the replicas of a service share this"
SETTINGS = Settings(
    backend=Backend.SIMULATED,
    buckets=(Bucket(64, 64),),
    queue_limit_seconds=1000,
    default_steps=2,
    simulated_milliseconds=5,
    host="127.0.0.1",
    advertised_host="127.0.0.1",
)
ASYNC = {"Prefer": "respond-async"}
LONG = {"num_inference_steps": 150, "n": 10}


@asynccontextmanager
async def listening(app: FastAPI, listener: socket.socket) -> AsyncIterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve([listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        server.should_exit = True
        await task


def listener() -> tuple[socket.socket, int]:
    opened = socket.create_server(("127.0.0.1", 0))
    return opened, opened.getsockname()[1]


@dataclass
class Replica:
    service: Service
    client: httpx.AsyncClient
    internal: httpx.AsyncClient

    async def begin(self, **members: Any) -> str:
        answer = await self.client.post("/v1/images/generations", json={"prompt": "x", **members}, headers=ASYNC)
        assert answer.status_code == 202
        location: str = answer.headers["Location"]
        return location

    async def end_of(self, location: str) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                body: dict[str, Any] = (await self.client.get(location)).json()
                if body["status"] not in ("queued", "running"):
                    return body
                await asyncio.sleep(0.01)


@asynccontextmanager
async def replica(key: Path | None, **changes: Any) -> AsyncIterator[Replica]:
    (public, port), (internal, internal_port) = listener(), listener()
    settings = replace(SETTINGS, internal_port=internal_port, signing_key_path=key, **changes)
    service = create_service(settings)
    service.engine.start()
    assert await asyncio.to_thread(service.engine.settled.wait, 30)
    try:
        async with (
            listening(create_public_app(service), public),
            listening(create_internal_app(service), internal),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{internal_port}") as other,
        ):
            yield Replica(service, client, other)
    finally:
        await service.forwarder.close()
        service.batcher.stop()
        assert await asyncio.to_thread(service.engine.join, 30)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    (tmp_path / "key").write_bytes(KEY)
    return tmp_path / "key"


@pytest.fixture
async def pair(key: Path) -> AsyncIterator[tuple[Replica, Replica]]:
    async with replica(key) as one, replica(key) as other:
        yield one, other


async def test_a_job_is_polled_fetched_and_forgotten_through_another_replica(pair: tuple[Replica, Replica]) -> None:
    one, other = pair
    location = await one.begin(seed=5)
    through = await other.end_of(location)
    assert through["status"] == "completed"
    assert through == (await one.client.get(location)).json()
    answer = await other.client.get(location)
    assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == ("application/json", "no-store")
    assert "SDXL-Owner" not in answer.headers
    assert (await other.client.delete(location)).status_code == 204
    for gone in (await one.client.get(location), await other.client.get(location)):
        assert (gone.status_code, gone.json()["error"]["code"]) == (410, "gone")
        assert "no longer kept" in gone.json()["error"]["message"]


async def test_a_job_is_cancelled_through_another_replica(pair: tuple[Replica, Replica]) -> None:
    one, other = pair
    location = await one.begin(**LONG)
    answer = await other.client.delete(location)
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert (await one.end_of(location))["status"] == "cancelled"


async def test_a_picture_is_fetched_through_another_replica(pair: tuple[Replica, Replica]) -> None:
    one, other = pair
    answer = await one.client.post("/v1/images/generations", json={"prompt": "x", "response_format": "url"})
    url = httpx.URL(answer.json()["data"][0]["url"])
    assert url.netloc == one.client.base_url.netloc
    here, there = await one.client.get(url.path), await other.client.get(url.path)
    assert here.content == there.content
    assert there.content.startswith(b"\x89PNG")
    for name in ("Content-Type", "Content-Length", "ETag", "X-Content-Type-Options"):
        assert here.headers[name] == there.headers[name]
    known = await other.client.get(url.path, headers={"If-None-Match": there.headers["ETag"]})
    assert (known.status_code, known.content) == (304, b"")


async def test_an_owner_that_is_gone_is_410(key: Path) -> None:
    async with replica(key) as other:
        async with replica(key) as one:
            location = await one.begin()
            await one.end_of(location)
        answer = await other.client.get(location)
        assert (answer.status_code, answer.json()["error"]["code"]) == (410, "gone")
        assert "the replica that held this is gone" in answer.json()["error"]["message"]


async def test_the_internal_port_answers_for_its_own_only_so_nothing_goes_in_circles(
    pair: tuple[Replica, Replica],
) -> None:
    one, other = pair
    location = await one.begin()
    assert (await one.internal.get(location)).status_code == 200
    refused = await other.internal.get(location)
    assert (refused.status_code, refused.headers["SDXL-Owner"]) == (404, other.service.signer.owner)


async def test_no_address_is_asked_that_no_replica_signed(key: Path) -> None:
    asked: list[str] = []
    trap, port = listener()
    async with listening(recording(asked), trap), replica(key) as one:
        owner = f"127.0.0.1:{port}"
        forged, _ = Signer(b"another key of sixteen bytes", owner).issue(Kind.JOB, 60)
        assert (await one.client.get(f"/v1/jobs/{forged}")).status_code == 404
        expired, _ = Signer(KEY, owner).issue(Kind.JOB, -1)
        assert (await one.client.get(f"/v1/jobs/{expired}")).status_code == 410
        assert asked == []
        signed, _ = Signer(KEY, owner).issue(Kind.JOB, 60)
        answer = await one.client.get(f"/v1/jobs/{signed}", headers={"Authorization": "Bearer secret", "Cookie": "a=b"})
        assert asked == [f"/v1/jobs/{signed}"], "so the trap works"
        assert answer.status_code == 410, "what lives there now is no replica"
        assert "not yours" not in answer.text


def recording(asked: list[str]) -> FastAPI:
    app = FastAPI()

    @app.get("/{path:path}")
    async def anything(path: str) -> str:
        asked.append(f"/{path}")
        return "not yours"

    return app


async def test_an_api_key_stays_where_it_was_sent(key: Path) -> None:
    async with replica(key) as one, replica(key) as other:
        seen: list[dict[bytes, bytes]] = []
        spy = spying(create_internal_app(one.service), seen)
        location = await one.begin()
        owner, port = listener()
        one.service.signer.owner = f"127.0.0.1:{port}"
        moved, _ = one.service.signer.issue(Kind.JOB, 60)
        async with listening(spy, owner):
            await other.client.get(f"/v1/jobs/{moved}", headers={"Authorization": "Bearer secret", "Cookie": "a=b"})
        assert location
        assert len(seen) == 1
        assert not {b"authorization", b"cookie"} & set(seen[0])


def spying(app: FastAPI, seen: list[dict[bytes, bytes]]) -> Any:
    async def spy(scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        seen.append(dict(scope["headers"]))
        await app(scope, receive, send)

    return spy


async def test_an_owner_that_does_not_answer_is_503_and_the_client_may_come_back(
    key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdxl_runtime.app.forwarding._TIMEOUT", httpx2.Timeout(0.2))
    silent, port = listener()
    with silent:
        async with replica(key) as one:
            token, _ = Signer(KEY, f"127.0.0.1:{port}").issue(Kind.JOB, 60)
            answer = await one.client.get(f"/v1/jobs/{token}")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


async def test_without_an_address_of_its_own_a_replica_answers_for_itself(key: Path) -> None:
    async with replica(key, advertised_host="") as one:
        location = await one.begin()
        assert (await one.end_of(location))["status"] == "completed"
        foreign, _ = Signer(KEY, "127.0.0.1:9").issue(Kind.JOB, 60)
        assert (await one.client.get(f"/v1/jobs/{foreign}")).status_code == 410


async def test_replicas_that_share_no_key_know_nothing_of_each_other(key: Path) -> None:
    async with replica(key) as one, replica(None) as other:
        assert (await other.client.get(await one.begin())).status_code == 404
