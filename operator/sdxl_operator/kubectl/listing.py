"""The tables of banks and models. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sdxl_operator.kubectl.text import Style, duration, since, table
from sdxl_operator.naming import Object
from sdxl_operator.status.node_class import words
from sdxl_operator.status.pods import condition_of

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def banks(found: Sequence[Object], style: Style, now: datetime) -> list[str]:
    """A row for each tune bank, and a line where there is none."""
    own = ("BUCKETS", "PROFILE", "NODES", "PRECISION", "COMPILED IN", "USED BY", "AGE")
    head = ("NAMESPACE", "NAME", "READY", "REASON", *own)
    return _listed("tune banks", head, [(*_start(bank, style), *_bank(bank), _age(bank, now)) for bank in found])


def models(found: Sequence[Object], style: Style, now: datetime) -> list[str]:
    """A row for each model, and a line where there is none."""
    head = ("NAMESPACE", "NAME", "READY", "REASON", "SOURCE", "CONTENT", "SIZE", "CLAIM", "USED BY", "AGE")
    return _listed("models", head, [(*_start(model, style), *_model(model), _age(model, now)) for model in found])


def size(count: int | None) -> str:
    """Bytes for people, `-` where they were not measured."""
    if count is None:
        return "-"
    value, unit = float(count), 0
    while value >= 1024 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} {UNITS[unit]}" if unit == 0 else f"{value:.1f} {UNITS[unit]}"


def _listed(what: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return table(head, rows) if rows else [f"There are no {what} here."]


def _start(obj: Mapping[str, Any], style: Style) -> tuple[str, str, str, str]:
    ready = condition_of(obj, "Ready")
    status = style.ready(obj, str(ready.get("status") or "Unknown"))
    return obj["metadata"]["namespace"], obj["metadata"]["name"], status, str(ready.get("reason") or "")


def _bank(bank: Mapping[str, Any]) -> tuple[object, ...]:
    spec, status = bank["spec"], bank.get("status") or {}
    seconds = status.get("compileSeconds")
    compiled = "" if seconds is None else duration(seconds)
    return status.get("summary"), spec["profile"], _nodes(bank), spec.get("precision"), compiled, _users(status)


def _nodes(bank: Mapping[str, Any]) -> str:
    """Of a part: the labels of the nodes that it is for; of a bank with parts: how many classes there are."""
    classes = (bank.get("status") or {}).get("nodeClasses") or []
    if classes:
        return f"{len(classes)} classes" if len(classes) > 1 else "1 class"
    return words(bank["spec"].get("nodeClass") or {}) or "all"


def _model(model: Mapping[str, Any]) -> tuple[object, ...]:
    spec, status = model["spec"], model.get("status") or {}
    return spec["source"], spec.get("content"), size(status.get("bytes")), status.get("claimName"), _users(status)


def _users(status: Mapping[str, Any]) -> str:
    return ", ".join(status.get("usedBy") or [])


def _age(obj: Mapping[str, Any], now: datetime) -> str:
    return since(str(obj["metadata"].get("creationTimestamp") or ""), now)
