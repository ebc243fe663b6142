"""What the page asks the server for: the fields of a picture, uploads and masks, and the same again as code."""

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.page.fakeserver import FakeServer
from tests.page.visitor import Visitor

PROMPT = "a red circle on a blue background"
SHELL = ["bash", "-euo", "pipefail", "-c"]
PYTHON = [sys.executable, "-W", "error", "-c"]


def picture(size: tuple[int, int], **options: object) -> bytes:
    """A JPEG, left half red and right half blue."""
    image = Image.new("RGB", size, "blue")
    image.paste("red", (0, 0, size[0] // 2, size[1]))
    stream = BytesIO()
    image.save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


def upload(visitor: Visitor, content: bytes) -> None:
    visitor.page.get_by_text("From a picture").click()
    visitor.page.locator("#image").set_input_files({"name": "my cat.jpg", "mimeType": "image/jpeg", "buffer": content})
    expect(visitor.page.locator("#mask")).to_be_visible()


def test_every_setting_of_the_form_is_in_the_request(stranger: Visitor, fake: FakeServer) -> None:
    page = stranger.page
    stranger.open()
    page.locator("summary").click()
    stranger.fill(PROMPT, steps=5, seed=21)
    page.get_by_label("Negative prompt").fill("green")
    page.get_by_text("160×96").click()
    page.locator("#guidance_scale").fill("4.5")
    page.get_by_label("Scheduler").select_option("UniPC")
    page.get_by_label("Format").select_option("webp")
    page.get_by_label("pixel", exact=True).check()
    page.get_by_label("Scale of pixel").fill("0.75")
    page.get_by_label("Let the refiner do the last steps").uncheck()
    stranger.paint.click()
    stranger.wait_done()
    (asked,) = fake.asked
    assert asked.path == "/v1/images/generations"
    assert asked.fields == {
        "model": "studio",
        "prompt": PROMPT,
        "negative_prompt": "green",
        "size": "160x96",
        "seed": 21,
        "num_inference_steps": 5,
        "guidance_scale": 4.5,
        "scheduler": "UniPC",
        "output_format": "webp",
        "adapters": [{"name": "pixel", "scale": 0.75}],
        "refiner": False,
        "stream": True,
        "partial_images": 3,
        "progress": True,
    }
    stranger.act("use").click()
    stranger.paint.click()
    stranger.wait_done()
    assert fake.asked[1].fields == asked.fields


@pytest.mark.parametrize(("act", "command"), [("curl", SHELL), ("python", PYTHON)])
def test_what_is_copied_is_exactly_what_was_asked(
    stranger: Visitor, fake: FakeServer, tmp_path: Path, act: str, command: list[str]
) -> None:
    stranger.open()
    stranger.page.locator("summary").click()
    stranger.page.get_by_label("pixel", exact=True).check()
    stranger.make(f"""{PROMPT}, "quoted", it's $HOME `id` \\n — {act}""", steps=3)
    stranger.act(act).click()
    expect(stranger.status).to_contain_text("Copied as")
    subprocess.run([*command, stranger.clipboard()], cwd=tmp_path, check=True, timeout=60)
    shown, copied = fake.asked
    assert copied.fields == shown.fields
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [shown.picture]


def test_an_open_seed_is_drawn_anew_for_each_picture_and_told(stranger: Visitor, fake: FakeServer) -> None:
    stranger.open()
    stranger.make(PROMPT, steps=1)
    stranger.make(PROMPT, steps=1, count=2)
    first, second, third = (one.fields["seed"] for one in fake.asked)
    assert first != second
    assert third == second + 1
    stranger.page.locator("#history li").last.locator(".thumbnail").click()
    expect(stranger.page.locator("#details dl")).to_contain_text(f"{first}")


def test_after_the_largest_seed_comes_zero(stranger: Visitor, fake: FakeServer) -> None:
    stranger.open()
    stranger.make(PROMPT, steps=1, seed=2**53 - 2, count=3)
    assert sorted(one.fields["seed"] for one in fake.asked) == [0, 2**53 - 2, 2**53 - 1]


def test_a_picture_is_cut_to_the_size_and_its_mask_is_transparent_where_painted(
    stranger: Visitor, fake: FakeServer
) -> None:
    stranger.open()
    stranger.page.get_by_text("160×96").click()
    upload(stranger, picture((400, 400)))
    stranger.page.locator("#mask").scroll_into_view_if_needed()
    box = stranger.page.locator("#mask").bounding_box()
    assert box is not None
    stranger.page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    stranger.page.mouse.down()
    stranger.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
    stranger.page.mouse.up()
    stranger.page.locator("#strength").fill("0.6")
    stranger.make(PROMPT, steps=2, seed=3)
    (asked,) = fake.asked
    assert asked.path == "/v1/images/edits"
    assert float(asked.fields["strength"]) == 0.6
    image, mask = (Image.open(BytesIO(asked.files[name])) for name in ("image", "mask"))
    assert image.size == mask.size == (160, 96)
    red, _, blue = image.convert("RGB").getpixel((20, 48))
    assert red > 200 > 50 > blue
    alpha = mask.getchannel("A")
    assert [alpha.getpixel((x, 48)) for x in (10, 40, 60, 80, 150)] == [255, 0, 0, 0, 255]


def test_the_keyboard_paints_a_mask_and_clear_takes_it_away(stranger: Visitor, fake: FakeServer) -> None:
    stranger.open()
    upload(stranger, picture((128, 128)))
    stranger.page.locator("#mask").focus()
    for key in ("ArrowLeft", "ArrowLeft", "Space", "ArrowDown", "Shift+ArrowDown"):
        stranger.page.keyboard.press(key)
    stranger.make(PROMPT, steps=1)
    alpha = Image.open(BytesIO(fake.asked[0].files["mask"])).getchannel("A")
    assert alpha.getextrema() == (0, 255)
    stranger.page.get_by_role("button", name="Clear").click()
    stranger.make(PROMPT, steps=1)
    assert list(fake.asked[1].files) == ["image"]


@pytest.mark.parametrize(("act", "command"), [("curl", SHELL), ("python", PYTHON)])
def test_an_edit_is_copied_with_its_files(
    stranger: Visitor, fake: FakeServer, tmp_path: Path, act: str, command: list[str]
) -> None:
    stranger.open()
    stranger.page.locator("summary").click()
    stranger.page.get_by_label("pixel", exact=True).check()
    upload(stranger, picture((128, 128)))
    stranger.page.locator("#mask").focus()
    stranger.page.keyboard.press("Space")
    stranger.make(PROMPT, steps=2, seed=5)
    for name in ("image", "mask"):
        with stranger.page.expect_download() as download:
            stranger.act(f"download-{name}").click()
        download.value.save_as(tmp_path / download.value.suggested_filename)
    stranger.act(act).click()
    expect(stranger.status).to_contain_text("Copied as")
    subprocess.run([*command, stranger.clipboard()], cwd=tmp_path, check=True, timeout=60)
    shown, copied = fake.asked
    normal = {"true": True, "True": True}
    fields = [{name: normal.get(f"{value}", value) for name, value in one.fields.items()} for one in (shown, copied)]
    assert {k: str(v) for k, v in fields[0].items()} == {k: str(v) for k, v in fields[1].items()}
    assert copied.files == shown.files
    assert (tmp_path / "a-red-circle-on-a-blue-background_128x128_seed-5.png").read_bytes() == shown.picture


def test_a_painted_picture_can_be_started_from(stranger: Visitor, fake: FakeServer) -> None:
    stranger.open()
    stranger.page.get_by_text("96×160").click()
    stranger.make(PROMPT, steps=1)
    stranger.act("start").click()
    expect(stranger.page.locator("#mask")).to_be_visible()
    stranger.make(PROMPT, steps=1)
    first, second = fake.asked
    sent, painted = (Image.open(BytesIO(content)).convert("RGB") for content in (second.files["image"], first.picture))
    assert sent.size == painted.size
    assert sent.tobytes() == painted.tobytes()


def test_a_photo_that_lies_on_its_side_is_turned(stranger: Visitor, fake: FakeServer) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    stranger.open()
    upload(stranger, picture((128, 128), exif=exif.tobytes()))
    stranger.make(PROMPT, steps=1)
    image = Image.open(BytesIO(fake.asked[0].files["image"])).convert("RGB")
    assert image.getpixel((64, 10))[0] > 200
    assert image.getpixel((64, 118))[2] > 200


def test_a_file_that_is_no_picture_is_said_at_its_field(stranger: Visitor) -> None:
    stranger.open()
    stranger.page.get_by_text("From a picture").click()
    stranger.page.locator("#image").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": b"no picture"})
    expect(stranger.page.locator("#error-image")).to_contain_text("cannot read")
