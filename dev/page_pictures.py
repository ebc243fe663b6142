"""Pictures of the page for the documents: `python -m dev.page_pictures http://localhost:8080` before a running service.

It paints with that service, and takes the page in the middle of a picture: wide, dark, and on a phone.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, StorageState, expect, sync_playwright

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
_STEPS, _MANY_STEPS = 12, 40
_SECONDS = 300


def begin(page: Page, prompt: str, steps: int, seed: int) -> None:
    """Fill in the form and paint, once the page can."""
    expect(page.locator("#paint")).to_be_enabled(timeout=_SECONDS * 1000)
    for name, value in (("prompt", prompt), ("num_inference_steps", steps), ("seed", seed)):
        page.locator(f"#{name}").fill(f"{value}")
    page.locator("#paint").click()


def fill_history(browser: Browser, url: str) -> StorageState:
    """Paint a few pictures; what the browser keeps of them."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(url)
        for seed, prompt in enumerate(_PAINTED):
            begin(page, prompt, _STEPS, seed)
            expect(page.locator("#history li")).to_have_count(seed + 1, timeout=_SECONDS * 1000)
        return context.storage_state()


def take(browser: Browser, url: str, out: Path, options: Mapping[str, Any]) -> None:
    """Begin a picture, and take the page once its second preview is there."""
    with browser.new_context(**options) as context:
        page = context.new_page()
        page.goto(url)
        begin(page, _BEING_PAINTED, _MANY_STEPS, 7)
        page.locator('.tile[data-previews="2"]').wait_for(timeout=_SECONDS * 1000)
        page.screenshot(path=out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Take all pictures into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="where the page is")
    parser.add_argument("--folder", type=Path, default=PICTURES)
    options = parser.parse_args(arguments)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=debian.ensure(), args=debian.options())
        kept = fill_history(browser, options.url)
        for name, view in _VIEWS.items():
            take(browser, options.url, options.folder / f"{name}.png", {**view, "storage_state": kept})


if __name__ == "__main__":
    main()
