"""Jobs and idempotency keys over HTTP, on the simulated device: what outlives its client and what is painted once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from sdxl_runtime.app import Service, create_public_app, tasks
from sdxl_runtime.app.headers import responds_async
from sdxl_runtime.app.shelf import Shelf
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.protocol import JobResponse
from sdxl_runtime.serving import create_service
from sdxl_runtime.settings import Backend, Settings

SETTINGS = Settings(
    backend=Backend.SIMULATED,
    model_name="studio",
    buckets=(Bucket(64, 64),),
    queue_limit_seconds=1000,
    default_steps=2,
    simulated_milliseconds=5,
)
LONG = {"num_inference_steps": 150, "n": 10}
"""7.5 seconds."""
ASYNC = {"Prefer": "respond-async"}


@asynccontextmanager
async def opened(settings: Settings = SETTINGS) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    service = create_service(settings)
    service.engine.start()
    assert await asyncio.to_thread(service.engine.settled.wait, 30)
    transport = httpx.ASGITransport(create_public_app(service), raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://studio", timeout=60) as client:
            yield service, client
    finally:
        service.batcher.stop()
        assert await asyncio.to_thread(service.engine.join, 30)


@pytest.fixture
async def both() -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    async with opened() as both:
        yield both


@pytest.fixture
def service(both: tuple[Service, httpx.AsyncClient]) -> Service:
    return both[0]


@pytest.fixture
def client(both: tuple[Service, httpx.AsyncClient]) -> httpx.AsyncClient:
    return both[1]


async def paint(client: httpx.AsyncClient, headers: dict[str, str] | None = None, **members: Any) -> httpx.Response:
    return await client.post("/v1/images/generations", json={"prompt": "a red circle", **members}, headers=headers)


async def begin(client: httpx.AsyncClient, **members: Any) -> str:
    answer = await paint(client, ASYNC, **members)
    assert answer.status_code == 202, answer.text
    return answer.headers["Location"]


async def end_of(client: httpx.AsyncClient, location: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            body: dict[str, Any] = (await client.get(location)).json()
            if body["status"] not in ("queued", "running"):
                return body
            await asyncio.sleep(0.01)


async def until_running(client: httpx.AsyncClient, location: str) -> None:
    async with asyncio.timeout(30):
        while (await client.get(location)).json()["status"] != "running":  # noqa: ASYNC110 - as a client polls
            await asyncio.sleep(0.005)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the engine's thread has no event of this loop
            await asyncio.sleep(0.005)


async def until_idle(service: Service) -> None:
    await until(lambda: service.batcher.load().idle)


def picture() -> bytes:
    file = BytesIO()
    Image.new("RGB", (64, 64), "blue").save(file, "PNG")
    return file.getvalue()


async def test_a_job_is_accepted_at_once_and_its_url_leads_to_the_same_answer(client: httpx.AsyncClient) -> None:
    answer = await paint(client, ASYNC, seed=5)
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "respond-async"
    body = answer.json()
    assert answer.headers["Location"] == f"/v1/jobs/{body['id']}"
    assert body["object"] == "image.job"
    assert body["status"] in ("queued", "running")
    assert body["progress"]["steps"] == 2
    assert body["expires_at"] > body["created_at"] + tasks.LIVES_SECONDS
    ended = await end_of(client, answer.headers["Location"])
    assert (ended["id"], ended["status"], ended["progress"]) == (body["id"], "completed", {"step": 2, "steps": 2})
    plain = (await paint(client, seed=5)).json()
    assert ended["result"]["data"] == plain["data"]
    assert ended["result"]["sdxl"]["evaluations"] == {"executed": 2, "nominal": 2}
    assert JobResponse.model_validate(ended).result is not None


async def test_a_job_tells_its_steps_and_can_be_fetched_again(client: httpx.AsyncClient) -> None:
    location = await begin(client, num_inference_steps=100)
    seen = set()
    async with asyncio.timeout(30):
        while (body := (await client.get(location)).json())["status"] in ("queued", "running"):
            seen.add(body["progress"]["step"])
            assert body["progress"]["steps"] == 100
            await asyncio.sleep(0.01)
    assert len(seen) > 3
    assert (await client.get(location)).json() == body
    assert (await client.get(location)).headers["Cache-Control"] == "no-store"


async def test_an_edit_may_be_a_job_too(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/images/edits", data={"prompt": "a sun"}, files={"image": ("a.png", picture(), "image/png")}, headers=ASYNC
    )
    assert answer.status_code == 202
    assert (await end_of(client, answer.headers["Location"]))["status"] == "completed"


async def test_a_cancelled_job_frees_the_device_and_a_finished_one_is_forgotten(
    service: Service, client: httpx.AsyncClient
) -> None:
    location = await begin(client, **LONG)
    await until_running(client, location)
    cancelled = await client.delete(location)
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    await until_idle(service)
    body = await end_of(client, location)
    assert (body["status"], body["error"]["code"], "result" in body) == ("cancelled", "job_cancelled", False)
    assert (await client.delete(location)).status_code == 204
    gone = await client.get(location)
    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "gone")
    assert (await client.delete(location)).status_code == 410


async def test_a_job_that_waits_is_queued_and_can_be_cancelled_before_it_begins(client: httpx.AsyncClient) -> None:
    first, second = await begin(client, **LONG), await begin(client)
    await until_running(client, first)
    assert (await client.get(second)).json()["status"] == "queued"
    await client.delete(second)
    assert (await end_of(client, second))["progress"]["step"] == 0
    await client.delete(first)


async def test_a_job_has_the_time_of_every_request() -> None:
    async with opened(replace(SETTINGS, request_timeout_seconds=0.2)) as (service, client):
        body = await end_of(client, await begin(client, **LONG))
        assert (body["status"], body["error"]["code"]) == ("failed", "timeout")
        assert "0.2 s" in body["error"]["message"]
        await until_idle(service)


async def test_a_job_is_refused_like_every_request() -> None:
    async with opened(replace(SETTINGS, queue_limit_seconds=1)) as (_, client):
        location = await begin(client, **LONG)
        refused = await paint(client, ASYNC, **LONG)
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        assert "Preference-Applied" not in refused.headers
        await client.delete(location)
        assert (await paint(client, ASYNC, n=11)).status_code == 400


@pytest.mark.parametrize("headers", [ASYNC, {"Idempotency-Key": "1"}])
async def test_a_stream_is_its_clients_alone(headers: dict[str, str], client: httpx.AsyncClient) -> None:
    answer = await paint(client, headers, stream=True)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "stream")
    assert next(iter(headers)) in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["respond-async"], True),
        (["Respond-Async; foo=1"], True),
        (['wait=10, return=minimal , respond-async; foo="a"'], True),
        (["wait=10", "respond-async"], True),
        (["return=respond-async"], False),
        (["respond-asynchronously"], False),
        ([], False),
    ],
)
def test_the_preference_is_read_as_rfc_7240_has_it(values: list[str], expected: bool) -> None:
    from starlette.datastructures import Headers

    assert responds_async(Headers(raw=[(b"prefer", value.encode()) for value in values])) is expected


@pytest.mark.parametrize("path", ["x", "A" * 90, "..%2fmodels", "é", "A" * 2000])
@pytest.mark.parametrize("place", ["/v1/jobs", "/v1/images/files"])
async def test_an_id_that_nobody_made_is_404(place: str, path: str, client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{place}/{path}")
    assert answer.status_code == 404
    assert set(answer.json()) == {"error"}


async def test_the_oldest_results_are_forgotten_first(service: Service, client: httpx.AsyncClient) -> None:
    service.tasks._ended = Shelf(10_000_000, 3, 3600, service.tasks._unbind)
    locations = []
    for _ in range(5):
        locations.append(await begin(client))
        await end_of(client, locations[-1])
    assert [(await client.get(location)).status_code for location in locations] == [410, 410, 200, 200, 200]


async def test_the_oldest_idempotency_keys_are_forgotten_first(service: Service, client: httpx.AsyncClient) -> None:
    service.tasks._ended = Shelf(10_000_000, 3, 3600, service.tasks._unbind)
    for number in range(5):
        assert (await paint(client, {"Idempotency-Key": f"{number}"})).status_code == 200
    assert [key for _, key in service.tasks._bound] == ["2", "3", "4"]
    assert (await paint(client, {"Idempotency-Key": "4"}, n=2)).status_code == 422
    assert (await paint(client, {"Idempotency-Key": "0"}, n=2)).status_code == 200


async def test_plain_requests_leave_nothing_behind(service: Service, client: httpx.AsyncClient) -> None:
    for _ in range(5):
        assert (await paint(client)).status_code == 200
    await asyncio.sleep(0)
    assert not service.tasks._running
    assert not service.tasks._bound
    assert len(service.tasks._ended) == 0


async def test_the_same_key_and_body_is_painted_once(service: Service, client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "one"}
    answers = await asyncio.gather(*(paint(client, key, n=2) for _ in range(4)))
    again = await client.post(
        "/v1/images/generations",
        content=b'{"n": 2,   "seed": null, "prompt": "a red circle"}',
        headers={"Idempotency-Key": '"one"', "Content-Type": "application/json"},
    )
    assert {answer.status_code for answer in (*answers, again)} == {200}
    assert len({answer.text for answer in (*answers, again)}) == 1
    text = service.metrics.render(0, 0, 0).decode()
    assert "sdxl_evaluations_nominal_total 4.0" in text, "one request of 2 pictures and 2 steps"


async def test_another_body_under_the_same_key_is_422(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "one"}
    assert (await paint(client, key)).status_code == 200
    answer = await paint(client, key, n=2)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "idempotency_key_reused")


async def test_a_job_and_a_plain_request_with_one_key_are_the_same(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "one"}
    first = await paint(client, {**ASYNC, **key}, num_inference_steps=20)
    plain = await paint(client, key, num_inference_steps=20)
    second = await paint(client, {**ASYNC, **key}, num_inference_steps=20)
    assert first.headers["Location"] == second.headers["Location"]
    assert second.json()["status"] == "completed"
    assert second.json()["result"] == plain.json()


async def test_the_same_edit_is_one_whether_it_comes_as_a_form_or_as_json(client: httpx.AsyncClient) -> None:
    import base64

    key = {"Idempotency-Key": "one"}
    form = await client.post(
        "/v1/images/edits", data={"prompt": "a sun"}, files={"image": ("a.png", picture(), "image/png")}, headers=key
    )
    url = "data:image/png;base64," + base64.b64encode(picture()).decode()
    json = await client.post("/v1/images/edits", json={"prompt": "a sun", "image": url}, headers=key)
    assert (form.status_code, json.text) == (200, form.text)
    other = await client.post(
        "/v1/images/edits", data={"prompt": "a sun"}, files={"image": ("a.png", picture() + b"x")}, headers=key
    )
    assert other.status_code == 422


@pytest.mark.parametrize(
    "value", ["", " ", "x" * 256, "é", "a\tb", '"unfinished', '"a"b"', '"\\n"', '"' + "x" * 256 + '"']
)
async def test_a_key_that_is_none_is_refused(value: str, client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/images/generations", json={"prompt": "x"}, headers=[(b"Idempotency-Key", value.encode())]
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_idempotency_key")


async def test_two_keys_are_refused_and_the_longest_is_taken(client: httpx.AsyncClient) -> None:
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = await client.post("/v1/images/generations", json={"prompt": "x"}, headers=twice)
    assert answer.status_code == 400
    assert (await paint(client, {"Idempotency-Key": "~" * 255})).status_code == 200


async def test_what_failed_was_refused_or_cancelled_may_be_tried_again_under_its_key(
    service: Service, client: httpx.AsyncClient
) -> None:
    key = {"Idempotency-Key": "one"}
    assert (await paint(client, key, size="65x65")).status_code == 400
    first = await paint(client, {**ASYNC, **key}, **LONG)
    waiting = asyncio.create_task(paint(client, key, **LONG))
    await until(lambda: any(task.waiters for task in service.tasks._running.values()))
    await client.delete(first.headers["Location"])
    told = await waiting
    assert (told.status_code, told.json()["error"]["code"]) == (409, "job_cancelled")
    assert (await paint(client, key)).status_code == 200


async def test_a_forgotten_job_frees_its_key(service: Service, client: httpx.AsyncClient) -> None:
    headers = {**ASYNC, "Idempotency-Key": "one"}
    first = (await paint(client, headers)).headers["Location"]
    await end_of(client, first)
    await client.delete(first)
    assert not service.tasks._bound
    second = (await paint(client, headers)).headers["Location"]
    assert first != second


async def test_every_holder_of_an_api_key_has_idempotency_keys_of_its_own(tmp_path: Any) -> None:
    (tmp_path / "keys").write_text("alpha\nbravo\n")
    async with opened(replace(SETTINGS, api_keys_path=tmp_path / "keys")) as (_, client):
        answers = [
            await paint(client, {"Authorization": f"Bearer {holder}", "Idempotency-Key": "one"}, n=n)
            for holder, n in (("alpha", 1), ("bravo", 2), ("alpha", 1))
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert answers[0].text == answers[2].text


class Visit:
    """A request by hand, whose client can go away at will."""

    def __init__(self, app: Any, key: str) -> None:
        self._gone = asyncio.Event()
        self._body: bytes | None = b'{"prompt": "x", "n": 10, "num_inference_steps": 150}'
        self.status = 0
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/images/generations",
            "query_string": b"",
            "scheme": "http",
            "server": ("studio", 80),
            "headers": [(b"content-type", b"application/json"), (b"idempotency-key", key.encode())],
        }
        self._request = asyncio.create_task(app(scope, self._receive, self._send))

    async def leave(self) -> None:
        self._gone.set()
        await self._request

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)


async def test_the_last_client_that_leaves_takes_its_request_along(service: Service) -> None:
    app = create_public_app(service)
    visits = [Visit(app, "one"), Visit(app, "one")]
    await until(lambda: service.batcher.load().in_flight == 1)
    await visits[0].leave()
    assert visits[0].status == 499
    await asyncio.sleep(0.1)
    assert service.batcher.load().in_flight == 1, "the other one still waits"
    await visits[1].leave()
    await until_idle(service)
    assert not service.tasks._bound


async def test_a_client_that_leaves_takes_no_job_along(service: Service, client: httpx.AsyncClient) -> None:
    visit = Visit(create_public_app(service), "one")
    await until(lambda: service.batcher.load().in_flight == 1)
    job = await client.post(
        "/v1/images/generations",
        json={"prompt": "x", "n": 10, "num_inference_steps": 150},
        headers={**ASYNC, "Idempotency-Key": "one"},
    )
    await visit.leave()
    await asyncio.sleep(0.1)
    assert service.batcher.load().in_flight == 1
    await client.delete(job.headers["Location"])
    await until_idle(service)


async def test_a_drain_waits_for_jobs_that_run_and_for_results_that_nobody_has_fetched(
    service: Service, client: httpx.AsyncClient
) -> None:
    assert not service.tasks.awaited(30)
    answer = await paint(client, ASYNC)
    assert service.tasks.awaited(30), "it runs"
    await until(lambda: not service.tasks._running)
    assert service.tasks.awaited(30), "it was not fetched"
    assert not service.tasks.awaited(0), "but not for ever"
    await end_of(client, answer.headers["Location"])
    assert not service.tasks.awaited(30)
