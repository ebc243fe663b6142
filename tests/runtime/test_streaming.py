"""Streams over the simulated device: OpenAI's events in order, progress on request, errors, clients that go away."""

import asyncio
import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from openai.types import ImageGenCompletedEvent, ImageGenPartialImageEvent
from PIL import Image

from sdxl_runtime.app import Service, create_public_app, streaming
from tests.runtime.simulated_service import SETTINGS, started


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with started() as service:
        yield service


@pytest.fixture(scope="module")
def client(service: Service) -> TestClient:
    return TestClient(create_public_app(service))


def events_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Name and data of every event; comments are left out."""
    events = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            events.append((lines["event"], json.loads(lines["data"])))
    return events


def streamed(client: TestClient, **members: Any) -> list[tuple[str, dict[str, Any]]]:
    answer = client.post("/v1/images/generations", json={"prompt": "a red circle", "stream": True, **members})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Cache-Control"] == "no-store"
    return events_of(answer.text)


def test_previews_come_before_the_picture_in_openais_shape(client: TestClient) -> None:
    events = streamed(client, partial_images=2, num_inference_steps=6, output_format="jpeg", seed=5)
    assert [name for name, _ in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    for index, (_, data) in enumerate(events[:2]):
        preview = ImageGenPartialImageEvent.model_validate(data, strict=True)
        assert preview.partial_image_index == index
        with Image.open(BytesIO(base64.b64decode(preview.b64_json))) as image:
            assert (image.format, image.size) == ("JPEG", (128, 128))
    completed = ImageGenCompletedEvent.model_validate(events[-1][1], strict=True)
    assert (completed.size, completed.quality, completed.usage.output_tokens) == ("128x128", "auto", 0)
    assert events[-1][1]["seed"] == 5
    assert events[-1][1]["sdxl"]["evaluations"] == {"executed": 6, "nominal": 6}


def test_the_streamed_picture_is_the_one_of_a_plain_answer(client: TestClient) -> None:
    plain = client.post("/v1/images/generations", json={"prompt": "a red circle", "seed": 9}).json()
    assert streamed(client, seed=9)[-1][1]["b64_json"] == plain["data"][0]["b64_json"]


def test_a_stream_without_previews_is_one_event(client: TestClient) -> None:
    assert [name for name, _ in streamed(client)] == ["image_generation.completed"]


def test_progress_tells_every_step_and_what_is_left(client: TestClient) -> None:
    events = [
        data for name, data in streamed(client, progress=True, num_inference_steps=4) if name.endswith("progress")
    ]
    assert [(event["step"], event["steps"], event["queued"]) for event in events] == [
        (0, 4, True),
        (1, 4, False),
        (2, 4, False),
        (3, 4, False),
        (4, 4, False),
    ]
    assert events[-1]["remaining_seconds"] == 0
    assert events[1]["remaining_seconds"] > 0


def test_what_is_wrong_is_told_before_the_stream_begins(client: TestClient) -> None:
    answer = client.post("/v1/images/generations", json={"prompt": "x", "stream": True, "size": "1x1"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "size"


def test_what_goes_wrong_later_is_an_event(client: TestClient, service: Service, monkeypatch: Any) -> None:
    def fail(*arguments: Any) -> None:
        monkeypatch.undo()
        raise RuntimeError("a secret of the driver")

    monkeypatch.setattr(service.engine.painter, "step", fail)
    name, data = streamed(client)[-1]
    assert (name, data["type"], data["error"]["code"]) == ("error", "error", "internal_error")
    assert "secret" not in json.dumps(data)


def test_a_stream_whose_time_runs_out_says_so() -> None:
    with started(replace(SETTINGS, request_timeout_seconds=0.2, simulated_milliseconds=20)) as service:
        name, data = streamed(TestClient(create_public_app(service)), num_inference_steps=150)[-1]
    assert (name, data["error"]["code"]) == ("error", "timeout")


async def test_a_stream_that_waits_is_kept_alive_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "KEEP_ALIVE_SECONDS", 0.05)
    inbox = streaming.Inbox()
    assert await inbox.next() is None
    inbox.tell(streaming.Step(1, 2))
    assert await inbox.next() == streaming.Step(1, 2)


async def test_a_client_that_goes_away_in_the_middle_frees_the_device() -> None:
    """The transport cancels the application as uvicorn does when the connection is lost."""
    with started(replace(SETTINGS, simulated_milliseconds=20)) as service:
        app = create_public_app(service)
        body = json.dumps({"prompt": "x", "stream": True, "progress": True, "num_inference_steps": 150}).encode()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "method": "POST",
            "path": "/v1/images/generations",
            "raw_path": b"/v1/images/generations",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
        }
        messages, seen = [{"type": "http.request", "body": body}], asyncio.Event()

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await seen.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if b'"step":2' in message.get("body", b""):
                seen.set()

        await asyncio.wait_for(app(scope, receive, send), 10)
        for _ in range(100):
            if service.batcher.load().idle:
                break
            await asyncio.sleep(0.01)
        assert service.batcher.load().idle


def test_edits_stream_under_their_own_names(client: TestClient) -> None:
    file = BytesIO()
    Image.new("RGB", (128, 128), "red").save(file, "PNG")
    answer = client.post(
        "/v1/images/edits",
        data={"prompt": "x", "stream": "true", "partial_images": "1", "progress": "true"},
        files={"image": ("a.png", file.getvalue(), "image/png")},
    )
    names = {name for name, _ in events_of(answer.text)}
    assert names == {"image_edit.progress", "image_edit.partial_image", "image_edit.completed"}


async def test_many_streams_at_once_each_get_their_own_picture(service: Service) -> None:
    transport = httpx.ASGITransport(create_public_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:

        async def seed_of(seed: int) -> int:
            members = {"prompt": "x", "stream": True, "seed": seed, "partial_images": 3}
            answer = await client.post("/v1/images/generations", json=members)
            last: int = events_of(answer.text)[-1][1]["seed"]
            return last

        assert await asyncio.gather(*(seed_of(seed) for seed in range(30))) == list(range(30))
