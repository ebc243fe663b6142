"""Routes and answers of both applications over the simulated device, in this process; sockets are in test_serving."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from sdxl_runtime.app import Service, create_internal_app, create_public_app
from sdxl_runtime.jobs import Job
from sdxl_runtime.protocol import EXPECTED, EditRequest
from sdxl_runtime.serving import create_service
from tests.runtime.simulated_service import SETTINGS, started


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with started() as service:
        yield service


@pytest.fixture(scope="module")
def client(service: Service) -> TestClient:
    return TestClient(create_public_app(service), raise_server_exceptions=False)


@pytest.fixture(scope="module")
def internal(service: Service) -> TestClient:
    return TestClient(create_internal_app(service), raise_server_exceptions=False)


@pytest.fixture
def loading() -> TestClient:
    return TestClient(create_public_app(create_service(SETTINGS)))


def paint(client: TestClient, **members: Any) -> dict[str, Any]:
    answer = client.post("/v1/images/generations", json={"prompt": "a red circle", **members})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def error_of(client: TestClient, content: bytes, status: int = 400) -> dict[str, Any]:
    answer = client.post("/v1/images/generations", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    error: dict[str, Any] = body["error"]
    return error


def test_a_request_is_answered_in_openais_shape_with_how_it_was_made(client: TestClient) -> None:
    body = paint(client, n=3, size="96x160", seed=7, quality="low", user="me", scheduler="DDIM", guidance_scale=2)
    assert [picture["seed"] for picture in body["data"]] == [7, 8, 9]
    assert {"size": "96x160", "output_format": "png", "quality": "low", "background": "opaque"}.items() <= body.items()
    assert body["safety_identifier"] == "me"
    details = body["sdxl"]
    assert set(details.pop("seconds")) == {"queue", "encode", "denoise", "decode", "encode_image", "total"}
    assert len(details.pop("identity")) == 16
    assert details == {
        "bucket": "96x160b2",
        "backend": "Simulated",
        "adapters": [],
        "refiner": False,
        "scheduler": "DDIM",
        "num_inference_steps": 15,
        "guidance_scale": 2.0,
        "evaluations": {"executed": 45, "nominal": 45},
    }


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_a_picture_has_the_asked_format_and_size(client: TestClient, output_format: str) -> None:
    body = paint(client, output_format=output_format)
    with Image.open(BytesIO(base64.b64decode(body["data"][0]["b64_json"]))) as image:
        assert (image.format, image.size) == (output_format.upper(), (128, 128))


def test_compression_makes_a_jpeg_smaller(client: TestClient) -> None:
    sizes = [
        len(paint(client, seed=1, output_format="jpeg", output_compression=value)["data"][0]["b64_json"])
        for value in (100, 1)
    ]
    assert sizes[1] < sizes[0]


def test_the_same_seed_paints_the_same_picture_and_a_drawn_one_is_told(client: TestClient) -> None:
    first = paint(client)
    again = paint(client, seed=first["data"][0]["seed"])
    assert again["data"] == first["data"]
    assert paint(client)["data"][0]["seed"] != first["data"][0]["seed"]


def test_neutral_values_of_meaningless_fields_are_accepted(client: TestClient) -> None:
    neutral = {"background": "auto", "stream": False, "partial_images": 0, "response_format": "b64_json"}
    assert len(paint(client, **neutral)["data"]) == 1


BAD: list[tuple[str, Any, str | None, str]] = [
    ("an unknown size", {"size": "90x150"}, "size", "96x160"),
    ("a size that is none", {"size": "big"}, "size", "'auto' or one of"),
    ("no steps", {"num_inference_steps": 0}, "num_inference_steps", "is 0; it must be a whole number from 1 to 150"),
    ("too many steps", {"num_inference_steps": 151}, "num_inference_steps", "is 151"),
    ("half a step", {"num_inference_steps": 1.5}, "num_inference_steps", "is 1.5"),
    ("steps as a text", {"num_inference_steps": "20"}, "num_inference_steps", "is '20'"),
    ("steps as a truth", {"num_inference_steps": True}, "num_inference_steps", "is True"),
    ("an empty prompt", {"prompt": ""}, "prompt", "is ''; it must be a text of 1"),
    ("a blank prompt", {"prompt": " \n"}, "prompt", "is blank"),
    ("a long prompt", {"prompt": "x" * 20_000}, "prompt", "has 20000 characters"),
    ("a prompt of many tokens", {"prompt": "cat " * 100}, "prompt", "has 102 tokens"),
    ("a long negative prompt", {"negative_prompt": "cat " * 100}, "negative_prompt", "has 102 tokens"),
    ("a prompt as a list", {"prompt": ["a"]}, "prompt", "is ['a']; it must be a text"),
    ("no prompt", {"prompt": None}, "prompt", "is None"),
    ("an unknown field", {"steps": 20}, "steps", "unknown field 'steps'"),
    ("a misspelt field", {"guidence_scale": 2}, "guidence_scale", "did you mean guidance_scale"),
    ("no pictures", {"n": 0}, "n", "from 1 to 10"),
    ("eleven pictures", {"n": 11}, "n", "is 11"),
    ("too much guidance", {"guidance_scale": 30.5}, "guidance_scale", "from 0 to 30"),
    ("an unknown scheduler", {"scheduler": "euler"}, "scheduler", "Euler, EulerAncestral, DPM++2M"),
    ("a negative seed", {"seed": -1}, "seed", "is -1"),
    ("a seed that JSON readers round", {"seed": 2**53}, "seed", "9007199254740991"),
    ("another model", {"model": "dall-e-3"}, "model", "'studio' is served here"),
    ("a transparent background", {"background": "transparent"}, "background", "opaque pictures"),
    ("a style", {"style": "vivid"}, "style", "describe the style in the prompt"),
    ("moderation", {"moderation": "low"}, "moderation", "nothing is moderated"),
    ("previews without a stream", {"partial_images": 2}, "partial_images", "needs stream: true"),
    ("too many previews", {"stream": True, "partial_images": 4}, "partial_images", "from 0 to 3"),
    ("a stream of two pictures", {"stream": True, "n": 2}, "n", "must be 1 with stream"),
    ("a stream as a number", {"stream": 0}, "stream", "true or false"),
    ("a batch that is not declared", {"batch": 3}, "batch", "declared are 1"),
    ("a crop of one number", {"crop": [1]}, "crop", "two whole numbers"),
    ("an adapter nobody has", {"adapters": [{"name": "oil"}]}, "adapters", "there is none"),
    ("an adapter too strong", {"adapters": [{"name": "oil", "scale": 9}]}, "adapters", "from -4 to 4"),
    ("a refiner nobody has", {"refiner": True}, "refiner", "has none"),
    ("frames", {"frame_count": 2}, "frame_count", "still pictures"),
    ("an SVG", {"svg": {}}, "svg", "paints pixels"),
    ("a GIF", {"output_format": "gif"}, "output_format", "one of png, jpeg, webp"),
    ("a compressed PNG", {"output_compression": 50}, "output_compression", "no meaning for png"),
    ("a quality of tomorrow", {"quality": "max"}, "quality", "one of auto, low"),
    ("two speeds", {"quality": "hd", "num_inference_steps": 3}, "quality", "send one of them"),
]


@pytest.mark.parametrize(("members", "param", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input_names_the_field_and_what_would_be_right(
    client: TestClient, members: dict[str, Any], param: str, words: str
) -> None:
    body = json.dumps({"prompt": "a red circle", **members}).encode()
    error = error_of(client, body, 404 if param == "model" else 400)
    assert error["param"] == param
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"
    assert error["code"]
    assert len(error["message"]) < 400


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"prompt": "a', "not JSON"),
        (b"", "JSON object"),
        (b"[]", "JSON object"),
        (b"3", "JSON object"),
        (b'"text"', "JSON object"),
        (b'{"prompt": "\xff"}', "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (rb'{"prompt": "\ud800"}', "valid Unicode"),
        (b'{"prompt": "x", "guidance_scale": NaN}', "guidance_scale"),
        (b'{"prompt": "x", "guidance_scale": 1e999}', "guidance_scale"),
        (b'{"prompt": "x", "seed": ' + b"9" * 5000 + b"}", "cannot be read as JSON"),
        (b"{}", "prompt is missing; it must be a text"),
    ],
)
def test_a_body_that_is_no_request_is_told_why(client: TestClient, content: bytes, words: str) -> None:
    assert words in error_of(client, content)["message"]


def test_a_body_that_is_not_announced_as_json_is_told_so(client: TestClient) -> None:
    answer = client.post("/v1/images/generations", content=b'{"prompt":"x"}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 400
    assert "Content-Type: application/json" in answer.json()["error"]["message"]


def test_a_body_that_is_too_large_is_refused(client: TestClient) -> None:
    assert "262144 bytes" in error_of(client, b" " * 300_000, 413)["message"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/images/generations", 405), ("GET", "/v2", 404)])
def test_another_path_or_method_has_the_error_body_too(client: TestClient, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_every_field_says_what_it_takes() -> None:
    assert set(EXPECTED) <= set(EditRequest.model_fields)
    for name in set(EditRequest.model_fields) - set(EXPECTED):
        assert EditRequest.model_fields[name].annotation is Any, f"{name} has a type but no words for its errors"


def test_while_loading_a_request_is_told_to_come_back(loading: TestClient) -> None:
    answer = loading.post("/v1/images/generations", json={"prompt": "x"})
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.json()["error"]["message"] == "the model is loading"
    assert loading.get("/v1/models").json()["data"][0]["sdxl"]["state"] == "Loading"


def test_a_full_queue_answers_429_with_when_to_come_back(client: TestClient, service: Service) -> None:
    long = service.batcher.submit(Job("long", None, SETTINGS.buckets[:1], 10, 0, 1_000_000, 5.0, "Euler"))
    try:
        answer = client.post("/v1/images/generations", json={"prompt": "x"})
    finally:
        service.batcher.abandon(long)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 1_000_000
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")


def test_a_request_that_takes_too_long_is_answered_504_and_leaves_the_device() -> None:
    with started(replace(SETTINGS, request_timeout_seconds=0.2)) as service:
        client = TestClient(create_public_app(service))
        answer = client.post("/v1/images/generations", json={"prompt": "x", "n": 10, "num_inference_steps": 150})
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "timeout"
        assert "0.2 s" in answer.json()["error"]["message"]
        assert paint(client, num_inference_steps=1)["sdxl"]["seconds"]["queue"] < 0.2


@pytest.mark.parametrize("failing", [1, 3])
def test_a_request_the_device_fails_on_is_answered_500_and_a_lost_device_503(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started(SETTINGS) as service:
        client = TestClient(create_public_app(service))
        failures = iter(range(failing))
        step = service.engine.painter.step  # type: ignore[union-attr]

        def fail(*arguments: Any) -> None:
            if next(failures, None) is not None:
                raise RuntimeError("a secret of the driver")
            step(*arguments)

        monkeypatch.setattr(service.engine.painter, "step", fail)
        answers = [client.post("/v1/images/generations", json={"prompt": "x"}) for _ in range(failing + 1)]
        assert [answer.status_code for answer in answers[:failing]] == [500] * failing
        assert "secret" not in answers[0].text
        assert answers[-1].status_code == (200 if failing == 1 else 503)
        health = TestClient(create_internal_app(service)).get("/healthz")
        assert health.status_code == (200 if failing == 1 else 500)


def test_the_served_model_is_listed_and_found(client: TestClient) -> None:
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["studio"]
    assert listed["data"][0]["sdxl"]["sizes"] == ["128x128", "96x160"]
    assert client.get("/v1/models/studio").json() == listed["data"][0]
    assert client.get("/v1/models/other").json()["error"]["code"] == "model_not_found"


def test_the_page_brings_everything_it_needs(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for name, media_type in (("page.js", "text/javascript"), ("page.css", "text/css")):
        assert f"page/{name}" in page.text
        part = client.get(f"/page/{name}")
        assert part.headers["Content-Type"].startswith(media_type)
        assert "://" not in part.text.replace("http://www.w3.org/2000/svg", "")
    assert "http" not in page.text
    assert client.get("/page/../app/public.py").status_code == 404


def test_the_internal_port_answers_probes_load_and_metrics(internal: TestClient, client: TestClient) -> None:
    paint(client)
    assert internal.get("/healthz").status_code == 200
    ready = internal.get("/readyz")
    assert (ready.status_code, ready.json()["state"]) == (200, "Ready")
    assert {bucket["backend"] for bucket in ready.json()["buckets"]} == {"Simulated"}
    load = internal.get("/v1/load").json()
    assert (load["queuedSeconds"], load["inFlight"], load["waiting"]) == (0, 0, 0)
    assert [bucket["key"] for bucket in load["capacity"]] == ["128x128b1", "96x160b2"]
    assert all(bucket["batchGainPercent"] == 100 for bucket in load["capacity"]), "a simulated batch does not pay"
    assert load["capacity"][0]["picturesPerSecond"] > 0
    text = internal.get("/metrics")
    assert text.headers["Content-Type"].startswith("text/plain")
    assert 'sdxl_requests_total{code="200"}' in text.text
    assert 'sdxl_bucket_step_milliseconds{backend="Simulated",bucket="128x128b1"}' in text.text


def test_the_api_is_not_on_the_internal_port_nor_the_probes_on_the_public_one(
    internal: TestClient, client: TestClient
) -> None:
    assert internal.post("/v1/images/generations", json={"prompt": "x"}).status_code == 404
    assert client.get("/metrics").status_code == 404
    assert client.get("/readyz").status_code == 404


def test_a_dead_engine_fails_the_liveness_probe() -> None:
    service = create_service(SETTINGS)
    answer = TestClient(create_internal_app(service)).get("/healthz")
    assert (answer.status_code, answer.text) == (500, "the engine's thread has ended")


def test_the_prompt_is_not_logged(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        paint(client, prompt="a very private prompt", negative_prompt="an equally private one")
    assert "private" not in "".join(str(vars(record)) for record in caplog.records)
    facts = [vars(record)["facts"] for record in caplog.records if hasattr(record, "facts")]
    assert facts[0]["bucket"] == "128x128b1"
    assert facts[0]["size"] == "128x128"
    assert facts[0]["code"] == 200


def test_the_api_describes_itself_and_brings_no_page_of_others(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    assert set(description["paths"]) == {
        "/v1/images/generations",
        "/v1/images/edits",
        "/v1/images/files/{id}",
        "/v1/jobs/{id}",
        "/v1/models",
        "/v1/models/{name}",
    }
    fields = description["components"]["schemas"]["GenerationRequest"]["properties"]
    assert {"minimum": 1, "maximum": 150}.items() <= fields["num_inference_steps"]["anyOf"][0].items()
    assert client.get("/docs").status_code == 404


def test_a_bug_is_answered_500_without_its_words(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(text: str) -> int:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(service.engine.painter, "count_tokens", fail)
    answer = client.post("/v1/images/generations", json={"prompt": "x"})
    assert answer.status_code == 500
    assert answer.json()["error"] == {
        "message": "the server failed on this request",
        "type": "server_error",
        "param": None,
        "code": "internal_error",
    }
