"""The version before this one, as a folder: what an upgrade starts from."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

from dev.shell import Failed, run, succeeds

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("operator/sdxl_operator", "runtime/sdxl_runtime", "charts/sdxl-operator")
"""What a version consists of, for whoever upgrades."""
UPGRADE_FROM = "SDXL_UPGRADE_FROM"
"""A commit, branch or tag to start from instead."""
LOOK_BACK = 60
"""A checkout that is shallow gets so many commits more, and no more are looked at."""


def commit() -> str:
    """The one that `SDXL_UPGRADE_FROM` names, else the newest that shipped something else than this checkout does.

    Raises:
        Failed: there is none; the message says why.
    """
    if named := os.environ.get(UPGRADE_FROM):
        return git("rev-parse", "--verify", f"{named}^{{commit}}").strip()
    if not succeeds(["git", "-C", ROOT, "rev-parse", "--git-dir"]):
        raise Failed(f"{ROOT} is no git checkout, so there is no version before it to be had")
    found = _newest_other()
    if not found and git("rev-parse", "--is-shallow-repository").strip() == "true":
        if not succeeds(["git", "-C", ROOT, "fetch", "--quiet", f"--deepen={LOOK_BACK}"], timeout=120):
            raise Failed("the checkout is shallow, and no more of its history can be fetched")
        found = _newest_other()
    if not found:
        raise Failed(f"none of the last {LOOK_BACK} commits shipped anything else than this checkout does")
    return found


def extract(commit: str, folder: Path) -> None:
    """Put a commit's files into a folder that exists."""
    with subprocess.Popen(["git", "-C", str(ROOT), "archive", commit], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            archive.extractall(folder, filter="data")
    if process.returncode != 0:
        raise Failed(f"`git archive {commit}` ended with {process.returncode}")


def git(*words: str) -> str:
    """git in this checkout."""
    return run(["git", "-C", ROOT, *words], timeout=60)


def _newest_other() -> str:
    commits = git("rev-list", f"--max-count={LOOK_BACK}", "HEAD").split()
    same = ("diff", "--quiet")
    return next((one for one in commits if not succeeds(["git", "-C", ROOT, *same, one, "--", *SHIPPED])), "")
