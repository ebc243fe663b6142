"""`POST /v1/images/edits` over the simulated device: forms and JSON, OpenAI's client, what is refused."""

import base64
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx
import openai
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from sdxl_runtime.app import Service, create_public_app
from tests.runtime.simulated_service import started


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with started() as service:
        yield service


@pytest.fixture(scope="module")
def client(service: Service) -> TestClient:
    return TestClient(create_public_app(service), raise_server_exceptions=False)


def a_file(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


IMAGE = a_file(Image.new("RGB", (128, 128), (9, 8, 7)))
MASK = a_file(Image.new("RGBA", (128, 128), (0, 0, 0, 0)))


def edit(client: TestClient, files: dict[str, bytes] | None = None, **members: Any) -> httpx.Response:
    sent = {"image": IMAGE} if files is None else files
    parts = [(name, ("x.png", content, "image/png")) for name, content in sent.items()]
    return client.post("/v1/images/edits", data={"prompt": "a red circle", **members}, files=parts)


def picture(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(BytesIO(base64.b64decode(answer.json()["data"][0]["b64_json"])))


def error_of(answer: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error


def test_a_form_starts_from_its_image(client: TestClient) -> None:
    answer = edit(client, seed="3", strength="0.5", num_inference_steps="4", n="2")
    assert picture(answer).getpixel((127, 127)) == (9, 8, 7)
    assert [item["seed"] for item in answer.json()["data"]] == [3, 4]
    assert answer.json()["sdxl"]["evaluations"] == {"executed": 4, "nominal": 4}


def test_json_takes_data_urls(client: TestClient) -> None:
    url = "data:image/png;base64,"
    body = {
        "prompt": "x",
        "image": url + base64.b64encode(IMAGE).decode(),
        "mask": url + base64.b64encode(MASK).decode(),
        "crop": [0, 8],
    }
    assert picture(client.post("/v1/images/edits", json=body)).size == (128, 128)


def test_without_a_size_the_nearest_to_the_image_is_taken(client: TestClient) -> None:
    tall = a_file(Image.new("RGB", (300, 520), "green"))
    assert picture(edit(client, {"image": tall})).size == (96, 160)
    assert picture(edit(client, {"image": tall}, size="128x128")).size == (128, 128)


def test_strength_is_less_without_a_mask_than_with_one(client: TestClient) -> None:
    plain = edit(client, num_inference_steps="8").json()["sdxl"]["evaluations"]["nominal"]
    masked = edit(client, {"image": IMAGE, "mask": MASK}, num_inference_steps="8").json()
    assert (plain, masked["sdxl"]["evaluations"]["nominal"]) == (6, 8)


def test_lists_come_as_json_in_a_form(client: TestClient) -> None:
    assert edit(client, crop="[1, 2]").status_code == 200
    assert error_of(edit(client, adapters='[{"name": "oil"}]'))["param"] == "adapters"
    assert error_of(edit(client, crop="[1"))["param"] == "crop"


@pytest.mark.parametrize(
    ("members", "param", "words"),
    [
        ({"strength": "0"}, "strength", "above 0, up to 1"),
        ({"strength": "1.5"}, "strength", "above 0, up to 1"),
        ({"strength": "0.01", "num_inference_steps": "10"}, "strength", "at least 0.1"),
        ({"n": "many"}, "n", "from 1 to 10"),
        ({"stream": "maybe"}, "stream", "true or false"),
        ({"size": "1x1"}, "size", "nearest are"),
        ({"input_fidelity": "high"}, "input_fidelity", "strength"),
        ({"markup": "x"}, "markup", "mask"),
        ({"background": "transparent"}, "background", "opaque"),
        ({"colour": "red"}, "colour", "unknown field"),
        ({"prompt": ""}, "prompt", "1 to 4000"),
    ],
    ids=str,
)
def test_bad_fields_are_named(client: TestClient, members: dict[str, str], param: str, words: str) -> None:
    error = error_of(edit(client, **members))
    assert error["param"] == param
    assert words in error["message"]


@pytest.mark.parametrize(
    ("files", "param"),
    [
        ({}, "image"),
        ({"image": b""}, "image"),
        ({"image": IMAGE[:50]}, "image"),
        ({"image": IMAGE, "mask": IMAGE}, "mask"),
        ({"image": IMAGE, "mask": a_file(Image.new("RGBA", (9, 9)))}, "mask"),
        ({"image": IMAGE, "prompt_2": b"x"}, "prompt_2"),
    ],
    ids=["none", "empty", "truncated", "a mask without transparency", "a mask of another size", "a text as a file"],
)
def test_bad_files_are_named(client: TestClient, files: dict[str, bytes], param: str) -> None:
    if not files:
        answer = client.post("/v1/images/edits", data={"prompt": "x"}, files={"mask": ("m.png", MASK, "image/png")})
    else:
        answer = edit(client, files)
    assert error_of(answer)["param"] == param


def test_an_image_sent_twice_is_refused(client: TestClient) -> None:
    parts = [("image[]", ("a.png", IMAGE, "image/png")), ("image[]", ("b.png", IMAGE, "image/png"))]
    assert "send it once" in error_of(client.post("/v1/images/edits", data={"prompt": "x"}, files=parts))["message"]


def test_a_url_is_not_fetched(client: TestClient) -> None:
    body = {"prompt": "x", "image": "http://169.254.169.254/latest/meta-data"}
    error = error_of(client.post("/v1/images/edits", json=body))
    assert error["param"] == "image"
    assert "nothing is fetched" in error["message"]


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"x", "multipart/form-data"),
        (b"x", "multipart/form-data; boundary=b"),
        (b"--b\r\nContent-Disposition: form-data; name=", "multipart/form-data; boundary=b"),
        (b"\xff", "application/json"),
    ],
)
def test_a_broken_body_is_a_client_error(client: TestClient, content: bytes, content_type: str) -> None:
    answer = client.post("/v1/images/edits", content=content, headers={"Content-Type": content_type})
    assert error_of(answer)["type"] == "invalid_request_error"


async def test_openais_client_edits(service: Service) -> None:
    transport = httpx.ASGITransport(create_public_app(service))
    async with openai.AsyncOpenAI(
        api_key="none",
        base_url="http://test/v1",
        max_retries=0,
        http_client=httpx.AsyncClient(transport=transport),
    ) as client:
        answer = await client.images.edit(
            image=("a.png", IMAGE),
            mask=("m.png", MASK),
            prompt="x",
            size="auto",
            n=1,
            extra_body={"seed": 5, "crop": [0, 8]},
        )
        assert answer.data is not None
        assert answer.data[0].model_extra == {"seed": 5}
        adapters = {"adapters": [{"name": "oil", "scale": 0.5}]}
        with pytest.raises(openai.BadRequestError, match="names 'oil'"):
            await client.images.edit(image=("a.png", IMAGE), prompt="x", extra_body=adapters)
        stream = await client.images.edit(image=("a.png", IMAGE), prompt="x", stream=True, partial_images=1)
        assert [event.type async for event in stream] == ["image_edit.partial_image", "image_edit.completed"]
