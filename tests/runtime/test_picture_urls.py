"""`response_format: url`: pictures behind signed URLs, for a limited time and within limits."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from sdxl_runtime.app import Service, create_public_app, pictures
from sdxl_runtime.app.shelf import Shelf
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.serving import create_service
from sdxl_runtime.settings import Backend, Settings
from sdxl_runtime.signing import Kind

SETTINGS = Settings(
    backend=Backend.SIMULATED,
    buckets=(Bucket(64, 64),),
    queue_limit_seconds=1000,
    default_steps=1,
    simulated_milliseconds=1,
)


@pytest.fixture
async def service(tmp_path: Any) -> AsyncIterator[Service]:
    (tmp_path / "keys").write_text("alpha")
    service = create_service(replace(SETTINGS, api_keys_path=tmp_path / "keys"))
    service.engine.start()
    assert await asyncio.to_thread(service.engine.settled.wait, 30)
    yield service
    service.batcher.stop()
    assert await asyncio.to_thread(service.engine.join, 30)


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_public_app(service))
    async with httpx.AsyncClient(
        transport=transport, base_url="https://pictures.example:8443", headers={"Authorization": "Bearer alpha"}
    ) as client:
        yield client


@pytest.fixture
async def stranger(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who was given a URL, and has no API key."""
    transport = httpx.ASGITransport(create_public_app(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport) as client:
        yield client


async def paint(client: httpx.AsyncClient, **members: Any) -> list[dict[str, Any]]:
    answer = await client.post("/v1/images/generations", json={"prompt": "a red circle", **members})
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
async def test_a_url_leads_to_the_same_file_that_b64_json_holds(
    output_format: str, client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    same = {"seed": 5, "n": 2, "output_format": output_format}
    here, there = await paint(client, **same), await paint(client, response_format="url", **same)
    for one, other in zip(here, there, strict=True):
        assert set(other) == {"url", "seed"}
        assert other["seed"] == one["seed"]
        assert other["url"].startswith("https://pictures.example:8443/v1/images/files/")
        answer = await stranger.get(other["url"])
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == f"image/{output_format}"
        assert answer.content == base64.b64decode(one["b64_json"])


async def test_a_picture_is_kept_by_its_client_and_by_no_proxy(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    [data] = await paint(client, response_format="url")
    answer = await stranger.get(data["url"])
    private, age, immutable = answer.headers["Cache-Control"].split(", ")
    assert (private, immutable) == ("private", "immutable")
    assert pictures.LIVES_SECONDS - 60 < int(age.removeprefix("max-age=")) <= pictures.LIVES_SECONDS
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    tag = answer.headers["ETag"]
    for known in (tag, f'"other", W/{tag}', "*"):
        again = await stranger.get(data["url"], headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert (await stranger.get(data["url"], headers={"If-None-Match": '"other"'})).status_code == 200


async def test_the_url_is_the_secret_and_nothing_near_it_works(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    [data] = await paint(client, response_format="url")
    url = data["url"]
    assert (await stranger.get(url[:-1] + ("A" if url[-1] != "A" else "B"))).status_code == 404
    assert (await stranger.get(url[:-10])).status_code == 404
    assert (await stranger.get(url.replace("images/files", "jobs"))).status_code == 401
    assert (await client.get(url.replace("images/files", "jobs"))).status_code == 404, "a picture's id is no job's"


async def test_a_url_ends_with_410(service: Service, client: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    [data] = await paint(client, response_format="url")
    now = service.signer.clock()
    service.signer.clock = lambda: now + pictures.LIVES_SECONDS + 1
    answer = await stranger.get(data["url"])
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "gone")


async def test_newer_pictures_take_the_place_of_the_oldest(
    service: Service, client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    [data] = await paint(client, response_format="url")
    size = len((await stranger.get(data["url"])).content)
    service.pictures._kept = Shelf(int(size * 3.5), 1000, 3600)
    urls = [(await paint(client, response_format="url", seed=1))[0]["url"] for _ in range(5)]
    assert [(await stranger.get(url)).status_code for url in urls] == [410, 410, 200, 200, 200]
    assert service.pictures._kept.size <= size * 3.5


async def test_a_url_of_a_process_that_ended_is_410_and_of_another_service_404(
    service: Service, stranger: httpx.AsyncClient
) -> None:
    token, _ = service.signer.issue(Kind.PICTURE, 60)
    assert (await stranger.get(f"http://x{pictures.PATH}/{token}")).status_code == 410
    foreign, _ = create_service(SETTINGS).signer.issue(Kind.PICTURE, 60)
    assert (await stranger.get(f"http://x{pictures.PATH}/{foreign}")).status_code == 404


async def test_a_job_may_answer_with_urls(client: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/images/generations",
        json={"prompt": "x", "response_format": "url"},
        headers={"Prefer": "respond-async"},
    )
    async with asyncio.timeout(30):
        while True:
            body = (await client.get(answer.headers["Location"])).json()
            if body["status"] == "completed":
                break
            await asyncio.sleep(0.01)
    assert (await stranger.get(body["result"]["data"][0]["url"])).status_code == 200


async def test_a_drain_waits_for_a_picture_that_nobody_has_fetched(
    service: Service, client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    [data] = await paint(client, response_format="url")
    assert service.pictures.awaited(30)
    await stranger.get(data["url"])
    assert not service.pictures.awaited(30)
