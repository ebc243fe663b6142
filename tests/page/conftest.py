"""A real Chromium before the page. Scenarios run against each server that SDXL_PAGE_SERVERS names.

Playwright and not Selenium: it sees every request and console message, hands over downloads, and drives Debian's
Chromium through its own protocol without a driver program of the same version.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from dev import browser as debian
from tests.page import servers
from tests.page.fakeserver import FakeServer, Running
from tests.page.visitor import Visitor, visiting

SERVERS = os.environ.get("SDXL_PAGE_SERVERS", servers.STAND_IN).split(",")

expect.set_options(timeout=15_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)


# NB: module and not session: while Playwright's synchronous interface is open, no asynchronous test can run
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=debian.ensure(), args=debian.options())
        yield chromium
        chromium.close()


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """Each server that the page has to work with."""
    with servers.start(request.param, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def visitor(browser: Browser, server: servers.Server) -> Iterator[Visitor]:
    """Somebody who has just opened the page."""
    with visiting(browser, server.url) as visitor:
        visitor.open()
        yield visitor
        visitor.check()


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """A stand-in of one's own, to be told how to behave."""
    with Running() as server:
        yield server


@pytest.fixture
def stranger(browser: Browser, fake: FakeServer) -> Iterator[Visitor]:
    """Somebody before the stand-in who has not opened the page yet."""
    with visiting(browser, fake.url) as visitor:
        yield visitor
        visitor.check()
