"""Edits: img2img and inpainting, through OpenAI's own client."""

import base64
from io import BytesIO

import numpy as np
import openai
from PIL import Image

from tests.conformance.conftest import Server


def a_file(image: Image.Image) -> tuple[str, bytes]:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return "picture.png", buffer.getvalue()


def size_of(server: Server) -> tuple[int, int]:
    width, height = server.sizes[0].split("x")
    return int(width), int(height)


def picture(answer: object) -> np.ndarray:
    data = answer.data[0].b64_json  # type: ignore[attr-defined]
    return np.asarray(Image.open(BytesIO(base64.b64decode(data))).convert("RGB"), dtype=int)


def test_an_edit_of_little_strength_stays_near_its_image(server: Server, client: openai.OpenAI) -> None:
    image = Image.new("RGB", size_of(server), (220, 30, 30))
    answer = client.images.edit(
        image=a_file(image),
        prompt="a large red circle on a red background",
        extra_body={"strength": 0.2, "num_inference_steps": 10, "seed": 1},
    )
    mean = picture(answer).mean(axis=(0, 1))
    assert mean[0] > mean[1] + 50
    assert answer.model_extra is not None
    assert answer.model_extra["sdxl"]["evaluations"]["executed"] == 2


def test_what_a_mask_keeps_stays(server: Server, client: openai.OpenAI) -> None:
    width, height = size_of(server)
    image = Image.new("RGB", (width, height), (20, 40, 220))
    mask = Image.new("RGBA", (width, height), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, width, height // 2))
    answer = client.images.edit(
        image=a_file(image),
        mask=a_file(mask),
        prompt="a large red circle on a white background",
        extra_body={"num_inference_steps": 6, "seed": 2},
    )
    kept = picture(answer)[-height // 4 :].mean(axis=(0, 1))
    assert kept[2] > kept[0] + 80, "below the mask it is as blue as it was"


def test_an_edit_streams(server: Server, client: openai.OpenAI) -> None:
    image = Image.new("RGB", size_of(server), "white")
    stream = client.images.edit(
        image=a_file(image), prompt="x", stream=True, partial_images=1, extra_body={"num_inference_steps": 4}
    )
    assert [event.type for event in stream] == ["image_edit.partial_image", "image_edit.completed"]
