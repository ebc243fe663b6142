"""Pictures of the page for the documents: `python -m dev.page_pictures http://localhost:8080` before a running service.

It paints with that service, and takes the page in the middle of a picture: wide, dark, and on a phone.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect, sync_playwright

from dev import browser as debian
from dev.chart import ROOT

PICTURES = ROOT / "docs" / "pictures"
_WIDE = {"width": 1280, "height": 860}
_VIEWS: Mapping[str, Mapping[str, Any]] = {
    "page": {"viewport": _WIDE},
    "page-dark": {"viewport": _WIDE, "color_scheme": "dark"},
    "page-phone": {"viewport": {"width": 390, "height": 780}, "is_mobile": True, "has_touch": True},
}
_PAINTED = (
    "a small green triangle on a white background",
    "a large orange square on a black background",
    "a white star on a purple background",
    "a red circle on a blue background",
)
_BEING_PAINTED = "a large yellow star at the top left on a purple background"
_MANY_STEPS = 150
_STEPS = 20
_SECONDS = 300


def take(browser: Browser, url: str, out: Path, view: Mapping[str, Any]) -> None:
    """Paint a few pictures, begin another one, and take the page once its second preview is there."""
    context = browser.new_context(**view)
    page = context.new_page()
    page.goto(url)
    paint = page.locator("#paint")

    def begin(prompt: str, steps: int, seed: int) -> None:
        expect(paint).to_be_enabled(timeout=_SECONDS * 1000)
        for name, value in (("prompt", prompt), ("num_inference_steps", steps), ("seed", seed)):
            page.locator(f"#{name}").fill(f"{value}")
        paint.click()

    for seed, prompt in enumerate(_PAINTED):
        begin(prompt, _STEPS, seed)
    begin(_BEING_PAINTED, _MANY_STEPS, 7)
    page.locator('.tile[data-previews="2"]').wait_for(timeout=_SECONDS * 1000)
    page.screenshot(path=out)
    context.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Take all pictures into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="where the page is")
    parser.add_argument("--folder", type=Path, default=PICTURES)
    options = parser.parse_args(arguments)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=debian.ensure(), args=debian.options())
        for name, view in _VIEWS.items():
            take(browser, options.url, options.folder / f"{name}.png", view)


if __name__ == "__main__":
    main()
