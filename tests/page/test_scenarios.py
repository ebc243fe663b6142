"""What a person does with the page, against every server."""

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from tests.page.servers import Server, wait_for
from tests.page.visitor import Visitor, visiting

PROMPT = "a red circle on a blue background"


def test_a_picture_is_painted_before_ones_eyes(visitor: Visitor) -> None:
    visitor.note_progress()
    visitor.make(PROMPT, steps=20, seed=7)
    noted = visitor.noted()
    assert noted["previews"] == 3
    assert noted["values"] == sorted(noted["values"])
    assert len(set(noted["values"])) >= 5
    assert any("Step" in words and "left" in words for words in noted["words"])
    expect(visitor.status).to_contain_text("Done in")
    picture = visitor.tile.get_by_role("img")
    expect(picture).to_have_attribute("alt", PROMPT)
    assert picture.evaluate("image => image.complete && image.naturalWidth") == 128


def test_cancel_reaches_the_server_and_the_page_is_ready_again(visitor: Visitor, server: Server) -> None:
    visitor.fill(PROMPT, steps=150)
    visitor.paint.click()
    expect(visitor.tile).to_have_attribute("data-state", "painting")
    assert server.in_flight() == 1
    visitor.cancel.click()
    expect(visitor.status).to_have_text("Cancelled.")
    expect(visitor.tile).to_have_attribute("data-state", "cancelled")
    wait_for(lambda: server.in_flight() == 0)
    visitor.make(PROMPT, steps=2)


def test_several_pictures_have_seeds_one_after_the_other(visitor: Visitor) -> None:
    visitor.make(PROMPT, steps=4, seed=40, count=5)
    expect(visitor.tile).to_have_count(5)
    labels = [visitor.tile.nth(i).get_by_role("progressbar", include_hidden=True) for i in range(5)]
    assert [label.get_attribute("aria-label") for label in labels] == [
        f"Progress of the picture with seed {seed}" for seed in range(40, 45)
    ]
    visitor.tile.nth(3).get_by_role("button").click()
    expect(visitor.page.locator("#details dl")).to_contain_text("43")
    expect(visitor.page.locator("#history li")).to_have_count(5)


def test_what_the_server_refuses_stands_beside_the_field_it_names(visitor: Visitor) -> None:
    visitor.expected_statuses = {400}
    visitor.page.locator("[name=size]:checked").evaluate("radio => (radio.value = '64x64')")
    visitor.fill(PROMPT, steps=2)
    visitor.paint.click()
    wrong = visitor.page.locator("#error-size")
    expect(wrong).to_contain_text("128x128")
    expect(visitor.page.locator("[name=size]:checked")).to_have_attribute("aria-invalid", "true")
    expect(visitor.page.locator("[name=size]:checked")).to_be_focused()
    visitor.page.get_by_text("160×96").click()
    expect(wrong).to_be_hidden()
    visitor.make(PROMPT, steps=2)


def test_the_history_outlives_the_page_and_brings_the_settings_back(visitor: Visitor) -> None:
    page = visitor.page
    page.get_by_text("96×160").click()
    page.get_by_label("Negative prompt").fill("green")
    visitor.make(PROMPT, steps=3, seed=11)
    page.get_by_label("Negative prompt").fill("")
    visitor.make("a blue star on a white background", steps=4, seed=12)
    expect(page.locator("#history li")).to_have_count(2)
    page.reload()
    expect(visitor.paint).to_be_enabled()
    page.locator("#history li").nth(1).locator(".thumbnail").click()
    expect(page.locator("#details .prompt")).to_have_text(PROMPT)
    visitor.act("use").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value(PROMPT)
    expect(page.get_by_label("Negative prompt")).to_have_value("green")
    expect(page.get_by_label("Seed").first).to_have_value("11")
    expect(page.locator("#num_inference_steps")).to_have_value("3")
    expect(page.locator("[name=size]:checked")).to_have_value("96x160")
    visitor.act("again").click()
    visitor.wait_done()
    expect(page.locator("#history li")).to_have_count(3)
    visitor.act("remove").click()
    expect(page.locator("#history li")).to_have_count(2)
    expect(page.locator("#empty")).to_be_visible()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete all").click()
    expect(page.locator("#past")).to_be_hidden()
    assert page.evaluate("localStorage['sdxl.history']") == "[]"


@pytest.mark.parametrize("output_format", ["png", "webp"])
def test_download_curl_and_python_give_the_same_picture(visitor: Visitor, tmp_path: Path, output_format: str) -> None:
    prompt = """it's "a red circle" on a $BLUE background\\ – 青"""
    visitor.page.locator("summary").click()
    visitor.page.get_by_label("Format").select_option(output_format)
    visitor.make(prompt, steps=4, seed=2**53 - 1)
    with visitor.page.expect_download() as download:
        visitor.act("download").click()
    name = f"it-s-a-red-circle-on-a-blue_128x128_seed-{2**53 - 1}.{output_format}"
    assert download.value.suggested_filename == name
    picture = Path(download.value.path()).read_bytes()
    with Image.open(BytesIO(picture)) as image:
        assert (image.format, image.size) == (output_format.upper(), (128, 128))
    for act, command in (
        ("curl", ["bash", "-euo", "pipefail", "-c"]),
        ("python", [sys.executable, "-W", "error", "-c"]),
    ):
        visitor.act(act).click()
        expect(visitor.status).to_contain_text("Copied as")
        folder = tmp_path / act
        folder.mkdir()
        done = subprocess.run([*command, visitor.clipboard()], cwd=folder, capture_output=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, b"")
        assert (folder / name).read_bytes() == picture


def test_the_keyboard_is_enough(visitor: Visitor, server: Server) -> None:
    page = visitor.page
    focus = "document.activeElement"

    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(f"{focus}.matches({selector!r})"):
                assert (
                    page.evaluate(f"getComputedStyle({focus}.closest('.chips label') ?? {focus}).outlineStyle")
                    != "none"
                )
                return
        raise AssertionError(f"{selector} cannot be reached with the Tab key")

    page.evaluate(f"{focus}.blur()")
    tab_to("#prompt")
    page.keyboard.type(PROMPT)
    tab_to("[name=size]")
    page.keyboard.press("ArrowRight")
    expect(page.locator("[name=size]:checked")).to_have_value("160x96")
    tab_to("#num_inference_steps")
    page.keyboard.press("Control+A")
    page.keyboard.type("150")
    page.keyboard.press("Control+Enter")
    expect(visitor.tile).to_have_attribute("data-state", "painting")
    page.keyboard.press("Escape")
    expect(visitor.status).to_have_text("Cancelled.")
    wait_for(lambda: server.in_flight() == 0)
    page.keyboard.press("Control+A")
    page.keyboard.type("2")
    tab_to("#paint")
    page.keyboard.press("Enter")
    visitor.wait_done()
    tab_to("[data-act=download]")
    tab_to("[data-act=use]")
    page.keyboard.press("Enter")
    expect(visitor.status).to_contain_text("settings")
    tab_to(".thumbnail")
    page.keyboard.press("Delete")
    expect(page.locator("#past")).to_be_hidden()


def test_a_phone_shows_everything_without_scrolling_sideways(browser: Browser, server: Server) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
    with visiting(browser, server.url, **phone) as visitor:
        visitor.open()
        assert visitor.overflow() <= 0
        visitor.page.get_by_text("From a picture").tap()
        visitor.page.locator("summary").tap()
        assert visitor.overflow() <= 0
        visitor.page.get_by_text("From text").tap()
        visitor.fill("red" * 100, steps=3, count=3)
        visitor.paint.tap()
        visitor.wait_done()
        assert visitor.overflow() <= 0
        expect(visitor.page.locator("#stage")).to_be_in_viewport()
        small = (
            "[...document.querySelectorAll('button, .chips label')].filter(b => b.offsetHeight && b.offsetHeight < 24)"
        )
        assert visitor.page.evaluate(f"{small}.length") == 0
        visitor.check()
