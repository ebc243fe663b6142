"""The page for everybody: axe-core's rules (WCAG 2.2 AA) in each state and colour scheme, motion, what is heard."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.page.fakeserver import FakeServer, Refused
from tests.page.visitor import Visitor, visiting

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PHONE = {"viewport": {"width": 360, "height": 740}}


def faults(visitor: Visitor) -> list[str]:
    """What axe finds wrong, a line for each element."""
    found = Axe().run(visitor.page, options=RULES).response["violations"]
    return [f"{rule['id']}: {node['html']} {node['failureSummary']}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}, PHONE], ids=["light", "dark", "phone"])
def test_no_state_of_the_page_breaks_a_rule_of_accessibility(
    browser: Browser, fake: FakeServer, options: dict[str, Any]
) -> None:
    with visiting(browser, fake.url, reduced_motion="reduce", **options) as visitor:
        visitor.expected_statuses = {400, 429}
        visitor.open()
        assert faults(visitor) == [], "empty"
        fake.step_seconds = 1
        visitor.fill("a red circle", steps=150, count=2)
        visitor.paint.click()
        expect(visitor.tile.first).to_have_attribute("data-state", "painting")
        assert faults(visitor) == [], "painting"
        visitor.cancel.click()
        fake.step_seconds = 0.01
        visitor.make("a red circle", steps=1, count=2)
        visitor.page.locator("summary").click()
        visitor.act("start").click()
        expect(visitor.page.locator("#mask")).to_be_visible()
        assert faults(visitor) == [], "done"
        fake.refusals = [Refused(429, "the queue is full"), Refused(400, "no such scheduler", "scheduler")]
        visitor.paint.click()
        visitor.wait_idle()
        assert faults(visitor) == [], "refused"
        visitor.check()


def test_who_wants_no_motion_sees_none(browser: Browser, fake: FakeServer) -> None:
    fake.step_seconds = 1
    with visiting(browser, fake.url, reduced_motion="reduce") as visitor:
        visitor.open()
        visitor.fill("a red circle", steps=150)
        visitor.paint.click()
        expect(visitor.tile).to_have_attribute("data-state", "painting")
        running = "document.getAnimations().filter((one) => one.playState === 'running').length"
        assert visitor.page.evaluate(running) == 0
        visitor.cancel.click()


def test_a_screen_reader_hears_little_and_enough(stranger: Visitor) -> None:
    stranger.open()
    stranger.page.evaluate(
        """() => {
          const status = document.querySelector("#status");
          window.heard = [];
          new MutationObserver(() => heard.push(status.textContent)).observe(status, {childList: true});
        }"""
    )
    stranger.make("a red circle", steps=10)
    heard = stranger.page.evaluate("heard")
    assert heard[0] == "Painting."
    assert heard[-1].startswith("Done in")
    assert len(heard) == 2
