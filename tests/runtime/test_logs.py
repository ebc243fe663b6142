"""Log lines as JSON."""

import json
import logging
import sys

from sdxl_runtime.logs import JSONFormatter


def line(record: logging.LogRecord) -> dict[str, object]:
    parsed: dict[str, object] = json.loads(JSONFormatter().format(record))
    return parsed


def test_a_line_has_time_level_message_and_facts() -> None:
    record = logging.LogRecord("sdxl_runtime.app", logging.INFO, "", 0, "request %s", ("done",), None)
    record.facts = {"bucket": "64x64b1", "seconds": 1.5}
    found = line(record)
    assert found.pop("time")
    assert found == {
        "level": "INFO",
        "logger": "sdxl_runtime.app",
        "message": "request done",
        "bucket": "64x64b1",
        "seconds": 1.5,
    }


def test_an_exception_stays_on_its_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    text = JSONFormatter().format(record)
    assert "\n" not in text
    assert "ValueError: two\nlines" in json.loads(text)["exception"]
