"""Which stored revision a rollback goes back to, and what it edits. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from sdxl_operator.accept import sentence
from sdxl_operator.api import ServiceSpec
from sdxl_operator.impact.revisions import back_to
from sdxl_operator.kubectl.errors import CommandError
from sdxl_operator.naming import Object
from sdxl_operator.plan.revision import completed


def chosen(revisions: Sequence[Object], name: str, now: ServiceSpec, wanted: str) -> tuple[Object, Object]:
    """The revision of this number or name, and the merge patch of the spec that goes back to it.

    Where none is named, it is the newest that once ran and is not what the spec says now.

    Raises:
        CommandError: there is none, the message lists those there are; or a newer operator wrote it.
    """
    if wanted:
        found = [item for item in revisions if wanted in (str(_number(item)), item["metadata"]["name"])]
        if not found:
            raise CommandError(f"--to is {wanted!r}: {name} has no such revision; there are {_listed(revisions)}")
        return found[0], _change(found[0], now)
    for item in sorted(filter(completed, revisions), key=_number, reverse=True):
        if change := _change(item, now):
            return item, change
    raise CommandError(f"{name} has no other revision that once ran; there are {_listed(revisions)}")


def _change(revision: Object, now: ServiceSpec) -> Object:
    try:
        return back_to(revision, now)
    except ValidationError as error:
        text = f"revision {title(revision)} cannot be read by this version: {sentence(error, 'spec')}"
        raise CommandError(text) from None


def applied(spec: Mapping[str, Any], change: Mapping[str, Any]) -> Object:
    """A spec after a merge patch (RFC 7386)."""
    out: Object = dict(spec)
    for name, value in change.items():
        if value is None:
            out.pop(name, None)
        elif isinstance(value, Mapping):
            inner = out.get(name)
            out[name] = applied(inner if isinstance(inner, Mapping) else {}, value)
        else:
            out[name] = value
    return out


def title(revision: Mapping[str, Any]) -> str:
    """How a revision is called: its number and its name."""
    return f"{_number(revision)} ({revision['metadata']['name']})"


def _listed(revisions: Sequence[Object]) -> str:
    known = sorted(revisions, key=_number)
    return ", ".join(f"{title(item)}{'' if completed(item) else ', which never ran'}" for item in known) or "none"


def _number(revision: Mapping[str, Any]) -> int:
    return int(revision["revision"])
