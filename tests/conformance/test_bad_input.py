"""What is wrong is refused by name in OpenAI's error body, whatever the backend, and costs the server nothing."""

import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from tests.conformance.conftest import Server

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"size": "7x7"}, "size"),
    ({"size": 5}, "size"),
    ({"n": 0}, "n"),
    ({"n": 11}, "n"),
    ({"num_inference_steps": 0}, "num_inference_steps"),
    ({"num_inference_steps": 10_000}, "num_inference_steps"),
    ({"guidance_scale": -1}, "guidance_scale"),
    ({"seed": -5}, "seed"),
    ({"scheduler": "best"}, "scheduler"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": " "}, "prompt"),
    ({"prompt": "x" * 20_000}, "prompt"),
    ({"prompt": "red " * 300}, "prompt"),
    ({"prompt": 3}, "prompt"),
    ({"negative_prompt": ["x"]}, "negative_prompt"),
    ({"output_format": "gif"}, "output_format"),
    ({"output_compression": 50}, "output_compression"),
    ({"background": "transparent"}, "background"),
    ({"style": "vivid"}, "style"),
    ({"svg": {"model": "x"}}, "svg"),
    ({"frame_count": 4}, "frame_count"),
    ({"moderation": "low"}, "moderation"),
    ({"partial_images": 2}, "partial_images"),
    ({"stream": True, "partial_images": 9}, "partial_images"),
    ({"stream": True, "n": 2}, "n"),
    ({"batch": 999}, "batch"),
    ({"adapters": [{"name": "no-such-adapter"}]}, "adapters"),
    ({"no_such_field": 1}, "no_such_field"),
]


@pytest.mark.parametrize(("members", "param"), WRONG, ids=[f"{param}-{i}" for i, (_, param) in enumerate(WRONG)])
def test_a_wrong_field_is_named(http: httpx.Client, members: dict[str, Any], param: str) -> None:
    answer = http.post("/v1/images/generations", json={"prompt": "a red circle", **members})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) < 500


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 10_000, b'{"prompt": NaN}'])
@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/images/edits"])
def test_a_body_that_is_no_request_is_refused(http: httpx.Client, path: str, content: bytes) -> None:
    answer = http.post(path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["error"]["message"]


def test_openais_client_raises_its_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.images.generate(prompt="x", size="7x7")  # type: ignore[call-overload]
    assert bad.value.param == "size"
    with pytest.raises(openai.NotFoundError):
        client.images.generate(prompt="x", model="no-such-model")


def test_an_unknown_path_has_the_error_body(http: httpx.Client) -> None:
    answer = http.get("/v1/nothing")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "invalid_request_error")


def test_a_client_that_sends_slowly_or_never_holds_up_nobody(server: Server, http: httpx.Client) -> None:
    parts = urlsplit(server.url)
    address = (parts.hostname or "", parts.port or 80)
    body = json.dumps({"prompt": "x", "num_inference_steps": 1}).encode()
    head = "POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    sockets = [socket.create_connection(address, timeout=10) for _ in range(20)]
    try:
        for index, connection in enumerate(sockets):
            connection.sendall(head.encode()[: 10 + index * 5])
        began = time.monotonic()
        answer = http.post("/v1/images/generations", json={"prompt": "x", "num_inference_steps": 1})
        assert answer.status_code == 200
        assert time.monotonic() - began < 20
    finally:
        for connection in sockets:
            connection.close()


def test_a_thousand_idle_connections_do_no_harm(server: Server, http: httpx.Client) -> None:
    parts = urlsplit(server.url)
    count = 1000 if server.backend != "remote" else 100
    idle = [socket.create_connection((parts.hostname or "", parts.port or 80), timeout=30) for _ in range(count)]
    try:
        answer = http.post("/v1/images/generations", json={"prompt": "x", "num_inference_steps": 1})
        assert answer.status_code == 200
    finally:
        for connection in idle:
            connection.close()
