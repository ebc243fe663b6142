"""Streams through OpenAI's own client, sync and async, and clients that go away."""

import base64
import contextlib
import json
import time
from io import BytesIO

import httpx
import openai
from PIL import Image

from tests.conformance.conftest import KEY, Server

PROMPT = "a large red circle at the centre on a blue background"


def test_a_stream_has_its_previews_and_then_its_picture(client: openai.OpenAI) -> None:
    stream = client.images.generate(
        prompt=PROMPT, stream=True, partial_images=3, extra_body={"num_inference_steps": 8, "seed": 3, "batch": 1}
    )
    events = list(stream)
    assert [event.type for event in events] == ["image_generation.partial_image"] * 3 + ["image_generation.completed"]
    sizes = {Image.open(BytesIO(base64.b64decode(event.b64_json))).size for event in events}
    assert len(sizes) == 1
    assert [event.partial_image_index for event in events[:3]] == [0, 1, 2]  # type: ignore[union-attr]
    plain = client.images.generate(prompt=PROMPT, extra_body={"num_inference_steps": 8, "seed": 3, "batch": 1})
    assert plain.data is not None
    assert events[-1].b64_json == plain.data[0].b64_json


async def test_the_asynchronous_client_streams(server: Server) -> None:
    async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{server.url}/v1", max_retries=0, timeout=180) as client:
        stream = await client.images.generate(prompt=PROMPT, stream=True, extra_body={"num_inference_steps": 2})
        assert [event.type async for event in stream] == ["image_generation.completed"]


def test_progress_counts_every_step_once(http: httpx.Client) -> None:
    body = {"prompt": PROMPT, "stream": True, "progress": True, "num_inference_steps": 5}
    with http.stream("POST", "/v1/images/generations", json=body) as answer:
        data = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    steps = [event["step"] for event in data if event["type"].endswith("progress")]
    assert steps == [0, 1, 2, 3, 4, 5]


def test_a_client_that_goes_away_at_any_phase_leaves_the_server_well(http: httpx.Client, server: Server) -> None:
    body = {"prompt": PROMPT, "stream": True, "progress": True, "num_inference_steps": 40}
    for lines in (0, 1, 4, 20):
        with http.stream("POST", "/v1/images/generations", json=body) as answer:
            for _ in zip(range(lines), answer.iter_lines(), strict=False):
                pass
    with contextlib.suppress(httpx.TimeoutException):
        httpx.post(
            f"{server.url}/v1/images/generations",
            json={"prompt": PROMPT, "num_inference_steps": 60},
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=0.3,
        )
    began = time.monotonic()
    answer = http.post("/v1/images/generations", json={"prompt": PROMPT, "num_inference_steps": 1})
    assert answer.status_code == 200
    assert answer.json()["sdxl"]["seconds"]["queue"] < 10
    assert time.monotonic() - began < 30
