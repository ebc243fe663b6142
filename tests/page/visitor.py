"""Somebody with a browser: opens the page, and notes what it asks for and what it complains about."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect

_NOTE_VIOLATIONS = """
  window.violations = [];
  addEventListener("securitypolicyviolation", ({violatedDirective, blockedURI}) =>
    violations.push(`${violatedDirective} ${blockedURI}`));
"""
_NOTE_PROGRESS = """
  window.noted = {values: [], words: [], previews: 0};
  new MutationObserver((records) => {
    for (const {target, attributeName} of records) {
      if (attributeName === "aria-valuenow" && target.ariaValueNow) noted.values.push(Number(target.ariaValueNow));
      if (attributeName === "aria-valuetext") noted.words.push(target.ariaValueText);
      if (attributeName === "data-previews") noted.previews += 1;
    }
  }).observe(document.getElementById("tiles"), {subtree: true, attributes: true});
"""


@dataclass
class Visitor:
    """A page at a server's `/`, with everything it did."""

    page: Page
    url: str
    requested: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    expected_statuses: set[int] = field(default_factory=set)
    """Answers of these kinds are part of the scenario, although Chromium reports them on the console."""

    def open(self) -> None:
        """Open the page and wait until it knows the model."""
        self.page.goto(f"{self.url}/")
        expect(self.paint).to_be_enabled()

    @property
    def paint(self) -> Locator:
        """The button that begins."""
        return self.page.get_by_role("button", name="Paint", exact=False).first

    @property
    def cancel(self) -> Locator:
        """The button that ends it."""
        return self.page.get_by_role("button", name="Cancel")

    @property
    def status(self) -> Locator:
        """The line that screen readers hear."""
        return self.page.get_by_role("status")

    @property
    def tile(self) -> Locator:
        """The pictures on the stage."""
        return self.page.locator(".tile")

    def act(self, name: str) -> Locator:
        """A button under the finished picture."""
        return self.page.locator(f'[data-act="{name}"]')

    def note_progress(self) -> None:
        """From now on `noted` has what the progress bars said."""
        self.page.evaluate(_NOTE_PROGRESS)

    def noted(self) -> dict[str, Any]:
        """`values` of the bars in percent, their `words`, and how many `previews` were shown."""
        noted: dict[str, Any] = self.page.evaluate("noted")
        return noted

    def fill(self, prompt: str, *, steps: int = 20, seed: int | None = None, count: int = 1) -> None:
        """Fill in the form."""
        self.page.get_by_label("Prompt", exact=True).fill(prompt)
        self.page.get_by_label("Steps", exact=True).and_(self.page.get_by_role("spinbutton")).fill(f"{steps}")
        self.page.get_by_label("Seed").first.fill("" if seed is None else f"{seed}")
        self.page.get_by_label("Pictures", exact=True).and_(self.page.get_by_role("spinbutton")).fill(f"{count}")

    def make(self, prompt: str, **settings: Any) -> None:
        """Fill in the form, paint, and wait until all is done."""
        self.fill(prompt, **settings)
        self.paint.click()
        self.wait_done()

    def wait_done(self) -> None:
        """Wait until no picture is being painted, and all were."""
        expect(self.page.locator(".tile:not([data-state=done])")).to_have_count(0, timeout=60_000)
        self.wait_idle()

    def wait_idle(self) -> None:
        """Wait until the page paints no longer, however that ended."""
        expect(self.cancel).to_be_disabled(timeout=60_000)

    def clipboard(self) -> str:
        """What was copied."""
        text: str = self.page.evaluate("navigator.clipboard.readText()")
        return text

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        wider: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return wider

    def check(self) -> None:
        """No request left the server, nothing broke the policy, and nothing was complained about."""
        foreign = [url for url in self.requested if urlsplit(url).scheme not in ("data", "blob")]
        assert all(url.startswith(f"{self.url}/") for url in foreign), foreign
        assert self.page.evaluate("violations") == []
        assert self.errors == []

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        if any(f"status of {status} " in message.text for status in self.expected_statuses):
            return
        self.errors.append(f"{message.text} at {message.location}")

    def _asked(self, request: Request) -> None:
        self.requested.append(request.url)


@contextmanager
def visiting(browser: Browser, url: str, **options: Any) -> Iterator[Visitor]:
    """A visitor with an empty profile; `options` are Playwright's, such as `viewport` and `color_scheme`."""
    context = browser.new_context(**options)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
    context.add_init_script(_NOTE_VIOLATIONS)
    visitor = Visitor(context.new_page(), url)
    context.set_default_timeout(15_000)
    visitor.page.on("console", visitor._heard)
    visitor.page.on("pageerror", lambda error: visitor.errors.append(f"{error}"))
    context.on("request", visitor._asked)
    try:
        yield visitor
    finally:
        context.close()
