"""The demo's requests, sent as any client would: through the Service, with OpenAI's client."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import openai
from PIL import Image

from dev.demo.kubectl import Kubectl
from dev.shell import say

SEED = 7


@dataclass(frozen=True)
class Request:
    """One picture to ask for."""

    prompt: str
    size: str


@dataclass(frozen=True)
class Picture:
    """What came back."""

    request: Request
    image: Image.Image
    caption: str


REQUESTS = (
    Request("a large red circle at the centre on a blue background", "128x128"),
    Request("a small yellow star at the top left on a purple background", "128x128"),
    Request("a large green triangle at the bottom right on a white background", "128x128"),
    Request("a large white square at the centre on a black background", "128x128"),
    Request("a large orange star at the top left on a green background", "160x96"),
    Request("a small red square at the bottom right on a white background", "160x96"),
    Request("a large blue circle at the top right on a yellow background", "160x96"),
    Request("a small white triangle at the bottom left on a red background", "160x96"),
    Request("a large purple triangle at the top right on a white background", "96x160"),
    Request("a large yellow circle at the bottom left on a blue background", "96x160"),
    Request("a small black star at the centre on an orange background", "96x160"),
    Request("a large green square at the centre on a purple background", "96x160"),
)


def draw_all(kubectl: Kubectl, namespace: str, service: str, requests: Sequence[Request]) -> list[Picture]:
    """Ask the service for each picture, one after the other."""
    with kubectl.port_forward(namespace, f"svc/{service}", 80) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", timeout=120, max_retries=2)
        pictures = []
        for number, request in enumerate(requests):
            pictures.append(draw(client, service, request, SEED + number))
            say(f"    {pictures[-1].caption}  {request.prompt}")
        return pictures


def draw(client: openai.OpenAI, model: str, request: Request, seed: int) -> Picture:
    """Ask for one picture."""
    answer = client.images.generate(
        model=model,
        prompt=request.prompt,
        size=request.size,
        extra_body={"seed": seed},
    )
    assert answer.data
    assert answer.data[0].b64_json
    assert answer.model_extra
    image = Image.open(io.BytesIO(base64.b64decode(answer.data[0].b64_json))).convert("RGB")
    facts = answer.model_extra["sdxl"]
    seconds = sum(facts["seconds"].values())
    return Picture(request, image, f"{facts['bucket']} {facts['backend']} {seconds:.2f} s")
