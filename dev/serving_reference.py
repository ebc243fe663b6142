"""The parts of docs/serving.md that are made from the runtime's code: request fields, events, metrics, settings."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from sdxl_runtime import protocol, settings
from sdxl_runtime.metrics import Metrics

Row = tuple[str, ...]


def fields(model: type[BaseModel], without: type[BaseModel] | None = None) -> Iterator[Row]:
    """A row for each field of a request: name, what it takes, what it says."""
    for name, field in model.model_fields.items():
        if without is None or name not in without.model_fields:
            yield f"`{name}`", _cell(protocol.EXPECTED.get(name, "")), _cell(field.description or "")


def events() -> Iterator[Row]:
    """A row for each event of a stream: its names, its members, what it is."""
    for model in (protocol.PartialEvent, protocol.CompletedEvent, protocol.ProgressEvent, protocol.ErrorEvent):
        members = ", ".join(f"`{name}`" for name in model.model_fields if name != "type")
        yield model.__name__.removesuffix("Event").lower(), members, _cell(inspect.getdoc(model) or "")


def metrics() -> Iterator[Row]:
    """A row for each metric of a serving process: name, kind, labels, what it counts."""
    for name, kind, labels, text in Metrics("CPU").described():
        yield f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels), _cell(text)


def environment() -> Iterator[Row]:
    """A row for each variable of the runtime: name, default, what it says."""
    documented, variables = _attributes(), _variables()
    for attribute, names in variables.items():
        text, default = documented[attribute]
        yield ", ".join(f"`{name}`" for name in names), f"`{default}`" if default else "", _cell(text)


def _attributes() -> dict[str, tuple[str, str]]:
    """Text and default of each attribute of the settings, by its name."""
    body = ast.parse(textwrap.dedent(inspect.getsource(settings.Settings))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for item, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            assert isinstance(after, ast.Expr)
            text = ast.literal_eval(after.value)
            found[item.target.id] = (str(text), _default(getattr(settings.Settings(), item.target.id)))
    return found


def _default(value: Any) -> str:
    if value in (None, (), ""):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _variables() -> dict[str, list[str]]:
    """The variables that are read for each attribute."""
    function = ast.parse(textwrap.dedent(inspect.getsource(settings.Settings.from_environment))).body[0]
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    made = next(call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "cls")
    return {
        keyword.arg: [
            node.value
            for node in ast.walk(keyword.value)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("SDXL_")
        ]
        for keyword in made.keywords
        if keyword.arg
    }


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
