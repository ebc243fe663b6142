"""`python -m dev.locks`: the exact versions in the images, resolved anew from pyproject.toml into `locks/`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from dev.shell import Failed, run, say, step

ROOT = Path(__file__).parent.parent
LOCKS = ROOT / "locks"
# What torch pins for itself, and only where its wheel is the one with CUDA.
TORCHS_OWN = re.compile(r"^(nvidia-|cuda-|triton\b)")
CONSTRAINTS = {"operator": (), "runtime": ("torch<2.13",)}
HEADER = "# Exact versions for the {extra} image. Made by `python -m dev.locks` from pyproject.toml; do not edit.\n"


def main() -> int:
    try:
        for extra in CONSTRAINTS:
            with step(f"locking {extra}"):
                (LOCKS / f"{extra}.txt").write_text(HEADER.format(extra=extra) + resolve(extra))
    except Failed as failure:
        say(f"error: {failure}")
        return 1
    return 0


def resolve(extra: str) -> str:
    """One line for each package, for Linux on any architecture."""
    how = [
        "--universal",
        "--python-version",
        "3.11",
        "--no-header",
        "--no-annotate",
        "--no-emit-index-url",
        "--upgrade",
    ]
    limits = "\n".join(CONSTRAINTS[extra])
    found = run(
        ["uv", "pip", "compile", "pyproject.toml", "--extra", extra, *how, "--quiet", "--constraint", "-"],
        text_in=limits,
        folder=ROOT,
    )
    return linux_only(found)


def linux_only(lock: str) -> str:
    """Drop what belongs to other systems and what torch itself chooses."""
    kept = []
    for line in lock.splitlines():
        other = re.search(r"sys_platform == '(win32|darwin)'|platform_system == '(Windows|Darwin)'", line)
        if line and not other and not TORCHS_OWN.match(line) and not line.startswith("--"):
            kept.append(line)
    return "\n".join(kept) + "\n"


if __name__ == "__main__":
    sys.exit(main())
