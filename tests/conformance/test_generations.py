"""Pictures from prompts: what every backend answers alike, through OpenAI's own client."""

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from tests.conformance.conftest import KEY, Server

PROMPT = "a large red circle at the centre on a blue background"


def opened(b64_json: str | None) -> Image.Image:
    assert b64_json is not None
    return Image.open(BytesIO(base64.b64decode(b64_json)))


def paint(http: httpx.Client, **members: Any) -> dict[str, Any]:
    answer = http.post("/v1/images/generations", json={"prompt": PROMPT, "num_inference_steps": 2, **members})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_every_size_gives_pictures_of_that_size(server: Server, client: openai.OpenAI) -> None:
    for size in server.sizes:
        answer = client.images.generate(prompt=PROMPT, size=size, n=2, extra_body={"num_inference_steps": 2})  # type: ignore[arg-type]
        assert answer.data is not None
        assert [f"{o.width}x{o.height}" for o in (opened(item.b64_json) for item in answer.data)] == [size] * 2
        assert answer.size == size


def test_auto_is_the_first_size(server: Server, client: openai.OpenAI) -> None:
    answer = client.images.generate(prompt=PROMPT, size="auto", extra_body={"num_inference_steps": 1})
    assert answer.size == server.sizes[0]


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_pictures_have_the_asked_format(client: openai.OpenAI, output_format: Any) -> None:
    answer = client.images.generate(prompt=PROMPT, output_format=output_format, extra_body={"num_inference_steps": 1})
    assert answer.data is not None
    assert opened(answer.data[0].b64_json).format == output_format.upper()
    assert answer.output_format == output_format


def test_pictures_come_as_urls_for_a_time(http: httpx.Client) -> None:
    body = paint(http, response_format="url", n=2, seed=4)
    assert [item["seed"] for item in body["data"]] == [4, 5]
    files = [httpx.get(item["url"], timeout=60) for item in body["data"]]
    assert {file.headers["Content-Type"] for file in files} == {"image/png"}
    plain = paint(http, n=2, seed=4, batch=int(body["sdxl"]["bucket"].split("b")[1]))
    assert [base64.b64encode(file.content).decode() for file in files] == [item["b64_json"] for item in plain["data"]]


def test_a_seed_in_a_bucket_is_a_picture(http: httpx.Client) -> None:
    first, again, other = (paint(http, seed=seed, batch=1) for seed in (3, 3, 4))
    assert first["data"] == again["data"]
    assert first["data"][0]["b64_json"] != other["data"][0]["b64_json"]
    assert first["sdxl"]["identity"] == again["sdxl"]["identity"]


def test_picture_i_of_n_is_the_one_of_its_own_seed(server: Server, http: httpx.Client) -> None:
    size, batch = max(server.batches.items(), key=lambda item: item[1])
    many = paint(http, n=3, seed=10, size=size, batch=batch)
    for index, item in enumerate(many["data"]):
        assert item["seed"] == 10 + index
        assert paint(http, seed=10 + index, size=size, batch=batch)["data"] == [item]


def test_a_picture_does_not_depend_on_who_shares_its_evaluations(server: Server, http: httpx.Client) -> None:
    size, batch = max(server.batches.items(), key=lambda item: item[1])
    members: dict[str, Any] = {"size": size, "batch": batch, "seed": 77, "num_inference_steps": 5}
    alone = paint(http, **members)["data"]
    mates = [{"seed": i, "num_inference_steps": 1 + i, "guidance_scale": float(i), "size": size} for i in range(4)]
    with ThreadPoolExecutor(8) as pool:
        others = [pool.submit(paint, http, **{"scheduler": "DDIM", **mate, "batch": batch}) for mate in mates]
        crowded = [pool.submit(paint, http, **members) for _ in range(3)]
        assert [future.result()["data"] for future in crowded] == [alone] * 3
        assert all(future.result()["data"] for future in others)


def test_every_scheduler_paints(server: Server, http: httpx.Client) -> None:
    pictures = {
        paint(http, seed=1, scheduler=name)["data"][0]["b64_json"] for name in server.model["sdxl"]["schedulers"]
    }
    assert pictures
    if server.backend == "cpu":
        assert len(pictures) > 1, "they are not all the same"


def test_the_answer_says_how_the_picture_was_made(http: httpx.Client) -> None:
    details = paint(http, n=2, num_inference_steps=3, guidance_scale=2.5, scheduler="UniPC")["sdxl"]
    assert details["evaluations"] == {"executed": 6, "nominal": 6}
    assert (details["scheduler"], details["num_inference_steps"], details["guidance_scale"]) == ("UniPC", 3, 2.5)
    assert details["backend"] in ("AheadOfTime", "Eager", "Simulated")
    assert set(details["seconds"]) == {"queue", "encode", "denoise", "decode", "encode_image", "total"}
    assert all(seconds >= 0 for seconds in details["seconds"].values())


def test_size_is_snapped_only_when_asked(server: Server, http: httpx.Client) -> None:
    assert paint(http, size="97x161", snap=True)["size"] in server.sizes
    assert http.post("/v1/images/generations", json={"prompt": "x", "size": "97x161"}).status_code == 400


def test_the_models_are_listed(server: Server, client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [server.model["id"]]
    assert client.models.retrieve(server.model["id"]).object == "model"


async def test_the_asynchronous_client_paints_many_at_once(server: Server) -> None:
    async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{server.url}/v1", max_retries=0, timeout=180) as client:
        answers = await asyncio.gather(
            *(
                client.images.generate(prompt=PROMPT, extra_body={"num_inference_steps": 1, "seed": seed})
                for seed in range(6)
            )
        )
    assert [answer.data[0].model_extra["seed"] for answer in answers] == list(range(6))  # type: ignore[index]
