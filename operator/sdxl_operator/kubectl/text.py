"""How things are shown: tables as kubectl has them, durations, and colours where somebody looks. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sdxl_operator.status.conditions import parse_time

GAP = "   "
GREEN, YELLOW, RED, BOLD, PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[1m", "\x1b[0m"
NONE = "-"


class Style:
    """Colours, or none where the output is not a terminal."""

    def __init__(self, coloured: bool) -> None:
        self._coloured = coloured

    def bold(self, text: str) -> str:
        """What the eye should find first."""
        return self._in(BOLD, text)

    def good(self, text: str) -> str:
        """What is as it should be."""
        return self._in(GREEN, text)

    def waits(self, text: str) -> str:
        """What needs time."""
        return self._in(YELLOW, text)

    def bad(self, text: str) -> str:
        """What needs somebody to do something."""
        return self._in(RED, text)

    def ready(self, obj: Mapping[str, Any], text: str) -> str:
        """A text about an object, by its conditions."""
        found = {item["type"]: item["status"] for item in (obj.get("status") or {}).get("conditions") or []}
        if found.get("Ready") == "True":
            return self.good(text)
        return self.bad(text) if found.get("Stalled") == "True" else self.waits(text)

    def _in(self, code: str, text: str) -> str:
        return f"{code}{text}{PLAIN}" if self._coloured and text else text


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Columns of text under their heads; the last one is not padded."""
    lines = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(head))]
    return [
        GAP.join(text + " " * (width - _width(text)) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def facts(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Names and what there is to say; rows that say nothing are left out."""
    told = [(name, text) for name, text in rows if text]
    width = max((len(name) for name, _ in told), default=0)
    return [f"{name.ljust(width)}{GAP}{text}" for name, text in told]


def duration(seconds: float) -> str:
    """Seconds in at most two units: 45s, 3m26s, 2h5m, 4d3h."""
    rest = max(round(seconds), 0)
    parts: list[tuple[int, str]] = []
    for letter, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append((count, letter))
    return "".join(f"{count}{letter}" for count, letter in parts[:2] if count) or "0s"


def since(time: str, now: datetime) -> str:
    """How long ago a time of an object was; `-` where there is none."""
    return duration((now - parse_time(time)).total_seconds()) if time else NONE


def _cell(value: object) -> str:
    return NONE if value in (None, "") else str(value)


def _width(text: str) -> int:
    for code in (GREEN, YELLOW, RED, BOLD, PLAIN):
        text = text.replace(code, "")
    return len(text)
