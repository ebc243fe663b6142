"""One request of `sdxl-runtime bench` and its record, against endpoints of several makes."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from sdxl_runtime.bench.client import Client, endpoint
from sdxl_runtime.bench.record import NO_ANSWER, Record
from sdxl_runtime.bench.schedule import Planned

DETAILS = {
    "bucket": "128x128b4",
    "num_inference_steps": 16,
    "evaluations": {"executed": 16, "nominal": 16},
    "seconds": {"queue": 0.5, "denoise": 1.5},
}
PLANNED = Planned(7, 0.0, {"prompt": "x", "size": "128x128", "num_inference_steps": 8})
Handler = Callable[[httpx2.Request], httpx2.Response] | Callable[[httpx2.Request], Awaitable[httpx2.Response]]


async def sent(handler: Handler, planned: Planned = PLANNED, **options: Any) -> Record:
    transport = httpx2.MockTransport(handler)  # type: ignore[arg-type]
    ticks = iter(range(100))
    async with Client("http://server", lambda: float(next(ticks)), transport=transport, **options) as client:
        return await client.send(planned, 0.0)


def events(*answers: dict[str, Any]) -> httpx2.Response:
    text = ": keep-alive\n\n" + "".join(f"event: {a['type']}\ndata: {json.dumps(a)}\n\n" for a in answers)
    return httpx2.Response(200, headers={"content-type": "text/event-stream; charset=utf-8"}, text=text)


@pytest.mark.parametrize(
    "url",
    ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/", "http://h:1/v1/images/generations"],
)
def test_any_form_of_a_servers_url_leads_to_the_endpoint(url: str) -> None:
    assert endpoint(url) == "http://h:1/v1/images/generations"


@pytest.mark.parametrize("url", ["localhost:8000", "", "ftp://h"])
def test_what_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"is no URL; write e\.g\. http://"):
        endpoint(url)


async def test_what_the_runtime_tells_of_a_picture_is_kept() -> None:
    answer = {"data": [{"b64_json": "aa"}, {"b64_json": "bb"}], "size": "128x128", "sdxl": DETAILS}
    record = await sent(lambda request: httpx2.Response(200, json=answer))
    assert record.ok
    assert (record.index, record.images, record.steps, record.evaluations) == (7, 2, 16, 16)
    assert record.phases == {"queue": 0.5, "denoise": 1.5}
    assert record.bucket == "128x128b4"


async def test_a_server_that_tells_nothing_more_than_openai_is_enough() -> None:
    record = await sent(lambda request: httpx2.Response(200, json={"data": [{"url": "http://x/1.png"}]}))
    assert record.ok
    assert (record.images, record.steps, record.size, record.evaluations) == (1, 8, "128x128", 0)


async def test_the_key_goes_as_a_bearer_token_and_the_body_as_planned() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["authorization"] == "Bearer secret"
        assert json.loads(request.content) == PLANNED.body
        return httpx2.Response(200, json={"data": [{"b64_json": "aa"}]})

    assert (await sent(handler, api_key="secret")).ok


async def test_a_rejection_keeps_its_status_and_its_code() -> None:
    body = {"error": {"message": "full", "type": "rate_limit_error", "code": "rate_limit_exceeded"}}
    record = await sent(lambda request: httpx2.Response(429, json=body))
    assert record.rejected
    assert not record.ok
    assert record.error == "rate_limit_exceeded"


async def test_an_error_that_is_no_json_is_its_status() -> None:
    record = await sent(lambda request: httpx2.Response(502, text="<html>bad gateway</html>"))
    assert (record.status, record.error, record.rejected) == (502, "status 502", False)


@pytest.mark.parametrize("answer", ["not json", "[]", '{"data": null}', '{"images": []}'])
async def test_a_success_that_cannot_be_read_is_a_failure(answer: str) -> None:
    record = await sent(lambda request: httpx2.Response(200, text=answer))
    assert not record.ok
    assert record.error.startswith("unreadable answer")


async def test_a_lost_connection_is_a_record_and_no_exception() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadError("gone")

    record = await sent(handler)
    assert (record.status, record.error) == (NO_ANSWER, "ReadError")


async def test_a_server_that_is_too_slow_is_a_time_out() -> None:
    async def handler(request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(10)
        raise AssertionError("nobody waited")

    record = await sent(handler, timeout=0.05)
    assert (record.status, record.error) == (NO_ANSWER, "timeout")


async def test_a_stream_tells_when_its_first_preview_came() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        assert (body["stream"], body["partial_images"]) == (True, 1)
        return events(
            {"type": "image_generation.partial_image", "b64_json": "aa", "partial_image_index": 0},
            {"type": "image_generation.completed", "b64_json": "bb", "size": "128x128", "sdxl": DETAILS},
        )

    record = await sent(handler, stream=True)
    assert record.ok
    assert record.first_preview == 0.0  # the first tick of the clock
    assert (record.previews, record.images, record.evaluations) == (1, 1, 16)


async def test_the_plan_decides_how_many_previews_a_stream_has() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        assert json.loads(request.content)["partial_images"] == 3
        return events({"type": "image_generation.completed", "b64_json": "bb"})

    planned = Planned(0, 0.0, {"prompt": "x", "partial_images": 3})
    assert (await sent(handler, planned, stream=True)).ok


async def test_an_error_within_a_stream_is_the_requests_error() -> None:
    error = {"message": "the device failed", "type": "server_error", "param": None, "code": "internal_error"}
    record = await sent(lambda request: events({"type": "error", "error": error}), stream=True)
    assert (record.ok, record.error) == (False, "internal_error")


async def test_a_stream_that_just_ends_is_a_failure() -> None:
    record = await sent(lambda request: events({"type": "image_generation.partial_image"}), stream=True)
    assert (record.ok, record.error) == (False, "the stream ended without a picture")
