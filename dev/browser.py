"""The browser that the page is tested in: Debian's Chromium. `python -m dev.browser` installs it, says where it is."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from dev.cluster.local import packages
from dev.shell import Failed, say

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def find() -> Path | None:
    """The browser of this machine; `SDXL_BROWSER` names another one."""
    named = os.environ.get("SDXL_BROWSER")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, _NAMES)), None)
    return Path(found) if found else None


def ensure() -> Path:
    """The browser, installed before where it is missing and this is root on Debian.

    Raises:
        Failed: there is none and it cannot be installed; the message says what to do.
    """
    if (found := find()) is None:
        if os.environ.get("SDXL_BROWSER"):
            raise Failed(f"SDXL_BROWSER is {os.environ['SDXL_BROWSER']!r}, which is not a program")
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise Failed("the page's tests need Chromium. Install it (Debian: apt-get install chromium)")
        packages.ensure({"chromium": "chromium"})
        found = find()
    assert found is not None
    return found


def options() -> list[str]:
    """Arguments of the browser: root may not use its sandbox."""
    return ["--no-sandbox"] if os.geteuid() == 0 else []


if __name__ == "__main__":
    try:
        print(ensure())
    except Failed as error:
        say(f"{error}")
        sys.exit(1)
