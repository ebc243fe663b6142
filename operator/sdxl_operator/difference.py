"""What differs between two JSON values, by path; the items of a keyed list are told apart by their keys. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Labels = Mapping[str, Callable[[Mapping[str, Any]], str]]
"""Keyed list, by its path in the schema → what an item of it is called; any other list is one value."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two values differ."""

    path: str
    """Where, as people read it: `server.env[A].value`."""
    field: str
    """Where in the schema: `server.env[].value`."""
    before: Any
    """None: it is not there."""
    after: Any
    """None: it is not there."""

    @property
    def words(self) -> str:
        """What became of it, in a few words."""
        if self.before is None:
            return f"{self.path} added" if _is_large(self.after) else f"{self.path}: {_text(self.after)} added"
        if self.after is None:
            return f"{self.path} removed"
        if _is_large(self.before) or _is_large(self.after):
            return f"{self.path} changed"
        return f"{self.path}: {_text(self.before)} → {_text(self.after)}"


def by(*keys: str) -> Callable[[Mapping[str, Any]], str]:
    """Items are called by these members of theirs."""
    return lambda item: ",".join(str(item.get(key, "")) for key in keys)


def differences(before: Any, after: Any, labels: Labels, path: str = "", field: str = "") -> Iterator[Difference]:
    """Every place that differs, outermost where a whole part is there only once; None stands for absent."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in {**before, **after}:
            inner = (f"{path}.{name}".removeprefix("."), f"{field}.{name}".removeprefix("."))
            yield from differences(before.get(name), after.get(name), labels, *inner)
    elif field in labels and isinstance(before, Sequence) and isinstance(after, Sequence):
        yield from _of_items(before, after, labels, path, field)
    else:
        yield Difference(path, field, before, after)


def _of_items(
    before: Sequence[Any], after: Sequence[Any], labels: Labels, path: str, field: str
) -> Iterator[Difference]:
    old = {labels[field](item): item for item in before}
    new = {labels[field](item): item for item in after}
    for label in {**old, **new}:
        yield from differences(old.get(label), new.get(label), labels, f"{path}[{label}]", f"{field}[]")
    was, now = [label for label in old if label in new], [label for label in new if label in old]
    if was != now:
        yield Difference(path, field, was, now)


def _is_large(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and len(str(value)) > 60)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return str(value) or "''"
