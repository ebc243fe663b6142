"""Running other programs, telling how long each step takes, and failing with a sentence a person can act on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

LAST_LINES = 12


class Failed(Exception):
    """Something a user has to know. The message says what went wrong and what to do; no traceback is wanted."""


def run(
    argv: Sequence[str | Path],
    *,
    text_in: str | None = None,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
    timeout: float | None = None,
) -> str:
    """Run a program and return what it wrote to its standard output; with `check`, a failure raises `Failed`."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, input=text_in, capture_output=True, text=True, env=env, cwd=folder, timeout=timeout
        )
    except FileNotFoundError:
        raise Failed(f"the program {words[0]!r} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"`{shorten(words)}` did not end within {timeout:.0f} s") from None
    if check and done.returncode != 0:
        raise Failed(f"`{shorten(words)}` ended with {done.returncode}:\n{tail(done.stderr or done.stdout)}")
    return done.stdout


def succeeds(argv: Sequence[str | Path], *, timeout: float = 20.0) -> bool:
    """Whether a program exists, ends in time and exits with 0."""
    words = [str(word) for word in argv]
    try:
        return subprocess.run(words, capture_output=True, timeout=timeout).returncode == 0
    except (FileNotFoundError, PermissionError, subprocess.TimeoutExpired):
        return False


def stream(
    argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None, folder: Path | None = None
) -> None:
    """Run a long program with its output in a file; a failure shows the last lines and where the rest is."""
    words = [str(word) for word in argv]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        code = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=folder).returncode
    if code != 0:
        raise Failed(f"`{shorten(words)}` ended with {code}:\n{tail(read(log))}\nThe whole log: {log}")


def say(text: str) -> None:
    """One progress line. Standard error, so that commands which print a value stay usable in scripts."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say when something that takes time begins, and how many seconds it took or after how many it failed."""
    say(f"  {title} …")
    began = time.monotonic()
    try:
        yield
    except BaseException:
        say(f"  {title}: failed after {time.monotonic() - began:.1f} s")
        raise
    say(f"  {title}: {time.monotonic() - began:.1f} s")


def read(path: Path) -> str:
    """The text of a file that may not exist."""
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def tail(text: str, lines: int = LAST_LINES) -> str:
    """The last lines of a log, indented."""
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-lines:]) or "    (it wrote nothing)"


def shorten(words: Sequence[str], limit: int = 120) -> str:
    """A command line short enough to be read in a message."""
    line = " ".join(words)
    return line if len(line) <= limit else line[: limit - 1] + "…"
