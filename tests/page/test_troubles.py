"""What the page does when things go wrong or the server asks for more; before the stand-in, which can be told to."""

import re

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.page.fakeserver import FakeServer, Refused
from tests.page.servers import wait_for
from tests.page.visitor import Visitor, visiting

PROMPT = "a red circle on a blue background"


def test_a_key_is_asked_for_kept_for_the_tab_and_never_copied(stranger: Visitor, fake: FakeServer) -> None:
    fake.key, page = "correct horse", stranger.page
    stranger.expected_statuses = {401}
    page.goto(fake.url)
    expect(page.get_by_label("API key")).to_be_focused()
    expect(stranger.paint).to_be_disabled()
    page.get_by_label("API key").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#error-key")).to_contain_text("missing or wrong")
    page.get_by_label("API key").fill("correct horse")
    page.get_by_role("button", name="Use", exact=True).click()
    expect(page.locator("#key-form")).to_be_hidden()
    page.reload()
    stranger.make(PROMPT, steps=2)
    for act in ("curl", "python"):
        stranger.act(act).click()
        expect(stranger.status).to_contain_text("Copied")
        assert "OPENAI_API_KEY" in stranger.clipboard()
        assert "correct horse" not in stranger.clipboard()
    assert page.evaluate("JSON.stringify(localStorage).includes('horse')") is False
    fake.key = "another"
    stranger.paint.click()
    expect(page.get_by_label("API key")).to_be_focused()
    fake.key = None
    page.get_by_label("API key").fill("any")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Forget the API key").click()
    expect(page.get_by_role("button", name="Forget the API key")).to_be_hidden()
    assert page.evaluate("sessionStorage.length") == 0


def test_a_prompt_that_is_too_long_is_said_at_the_prompt(stranger: Visitor, fake: FakeServer) -> None:
    stranger.expected_statuses = {400}
    stranger.open()
    stranger.fill("red " * 78, count=6)
    stranger.paint.click()
    expect(stranger.page.locator("#error-prompt")).to_have_text("prompt has 78 tokens; it may have 77")
    expect(stranger.page.get_by_label("Prompt", exact=True)).to_be_focused()
    expect(stranger.cancel).to_be_disabled()
    assert fake.asked == []


def test_a_request_that_is_refused_leaves_the_picture_that_was_there(stranger: Visitor, fake: FakeServer) -> None:
    stranger.expected_statuses = {400}
    stranger.open()
    stranger.make(PROMPT, steps=1)
    stranger.fill("red " * 78)
    stranger.paint.click()
    expect(stranger.page.locator("#error-prompt")).to_be_visible()
    expect(stranger.tile.get_by_role("img")).to_have_attribute("alt", PROMPT)
    expect(stranger.page.locator("#details .prompt")).to_have_text(PROMPT)


def test_what_the_browser_can_see_is_wrong_never_reaches_the_server(stranger: Visitor, fake: FakeServer) -> None:
    stranger.open()
    stranger.paint.click()
    expect(stranger.page.locator("#error-prompt")).to_have_text("Say what the picture shows.")
    stranger.fill(PROMPT, steps=151)
    stranger.paint.click()
    expect(stranger.page.locator("#error-num_inference_steps")).to_have_text("It must be a whole number from 1 to 150.")
    stranger.page.locator("#num_inference_steps").fill("2")
    expect(stranger.page.locator("#error-num_inference_steps")).to_be_hidden()
    stranger.page.get_by_text("From a picture").click()
    stranger.paint.click()
    expect(stranger.page.locator("#error-image")).to_have_text("Choose a picture.")
    assert fake.asked == []


def test_an_error_about_a_field_in_the_closed_part_opens_it(stranger: Visitor, fake: FakeServer) -> None:
    stranger.expected_statuses = {400}
    fake.refusals = [Refused(400, "the adapter was removed", "adapters[0].name")]
    stranger.open()
    stranger.fill(PROMPT)
    stranger.paint.click()
    expect(stranger.page.locator("#error-adapters")).to_be_visible()
    expect(stranger.page.locator("#more")).to_have_attribute("open", "")


def test_a_full_queue_says_when_to_try_again(stranger: Visitor, fake: FakeServer) -> None:
    stranger.expected_statuses = {429}
    fake.refusals = [Refused(429, "120 seconds of work wait already.", retry_after=75)]
    stranger.open()
    stranger.fill(PROMPT, steps=2)
    stranger.paint.click()
    alert = stranger.page.get_by_role("alert")
    expect(alert).to_have_text("120 seconds of work wait already. Try again in 1\u00a0min 15\u00a0s.")
    stranger.make(PROMPT, steps=2)
    expect(alert).to_be_hidden()


@pytest.mark.parametrize(
    ("step", "said"),
    [(3, "the device failed on this request"), (0, "The connection ended before the picture was done.")],
)
def test_a_stream_that_breaks_off_is_said(stranger: Visitor, fake: FakeServer, step: int, said: str) -> None:
    fake.break_at_step = step
    stranger.open()
    stranger.fill(PROMPT)
    stranger.paint.click()
    expect(stranger.page.get_by_role("alert")).to_have_text(said)
    expect(stranger.tile).to_have_attribute("data-state", "failed")
    expect(stranger.cancel).to_be_disabled()
    expect(stranger.page.locator("#past")).to_be_hidden()


def test_waiting_in_the_queue_is_shown_and_can_be_cancelled(stranger: Visitor, fake: FakeServer) -> None:
    fake.queue_seconds = 30
    stranger.open()
    stranger.fill(PROMPT)
    stranger.paint.click()
    expect(stranger.tile).to_contain_text("In the queue · 30\u00a0s left")
    stranger.page.keyboard.press("Escape")
    wait_for(lambda: [one.outcome for one in fake.asked] == ["cancelled"])


def test_a_tab_that_is_closed_frees_its_rows(browser: Browser, fake: FakeServer) -> None:
    with visiting(browser, fake.url) as visitor:
        visitor.open()
        visitor.fill(PROMPT, steps=150, count=3)
        visitor.paint.click()
        wait_for(lambda: fake.in_flight() == 3)
    wait_for(lambda: [one.outcome for one in fake.asked] == ["cancelled"] * 3)


def test_a_service_that_loads_is_waited_for(stranger: Visitor, fake: FakeServer) -> None:
    fake.state = "Warming"
    stranger.page.goto(fake.url)
    expect(stranger.page.locator("#model")).to_contain_text("studio · warming")
    fake.state = "Ready"
    expect(stranger.page.locator("#model")).to_have_text("studio")


def test_a_full_storage_loses_thumbnails_and_nothing_else(stranger: Visitor) -> None:
    stranger.open()
    stranger.page.evaluate("localStorage.setItem('other', 'x'.repeat(5 * 1024 * 1024 - 2000))")
    for seed in range(3):
        stranger.make(PROMPT, steps=1, seed=seed)
    expect(stranger.page.locator("#history li")).to_have_count(3)


def test_the_history_keeps_48_pictures(stranger: Visitor, fake: FakeServer) -> None:
    fake.step_seconds = 0
    stranger.open()
    for _ in range(5):
        stranger.make(PROMPT, steps=1, count=10)
    expect(stranger.page.locator("#history li")).to_have_count(48)
    kept = stranger.page.evaluate("localStorage['sdxl.history']")
    assert kept.count('"thumbnail"') == 48
    assert "b64_json" not in kept
    assert len(kept) < 1_000_000


def test_a_prompt_is_text_and_never_markup(stranger: Visitor) -> None:
    stranger.open()
    stranger.make("<img src=x onerror=alert(1)> & <b>bold</b>", steps=1)
    expect(stranger.page.locator("#details .prompt")).to_have_text("<img src=x onerror=alert(1)> & <b>bold</b>")
    assert stranger.page.locator("#details img, #details b").count() == 0


def test_what_is_not_a_file_of_the_page_is_not_served(fake: FakeServer) -> None:
    assert httpx.get(f"{fake.url}/page/page.js").headers["Content-Type"].startswith("text/javascript")


def test_copying_works_where_plain_http_has_no_clipboard(stranger: Visitor) -> None:
    page = stranger.page
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined}); delete crypto.randomUUID;")
    stranger.open()
    stranger.make(PROMPT, steps=1)
    stranger.act("curl").click()
    expect(stranger.status).to_have_text("Copied as curl.")
    expect(stranger.act("curl")).to_be_focused()
    page.get_by_label("Prompt", exact=True).fill("")
    page.keyboard.press("Control+V")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value(re.compile("^curl "))
