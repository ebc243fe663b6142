"""The only code that talks to the API server: get, list, apply, delete, status, events."""

from collections.abc import Mapping
from typing import Protocol

from sdxl_operator.cluster.errors import (
    ClusterError,
    Conflict,
    Forbidden,
    Invalid,
    KindNotServed,
    NotFound,
    Unavailable,
)
from sdxl_operator.naming import Object, Ref

__all__ = [
    "Cluster",
    "ClusterError",
    "Conflict",
    "Forbidden",
    "Invalid",
    "KindNotServed",
    "NotFound",
    "Objects",
    "Unavailable",
]


Objects = list[Object]  # NB: inside the class, `list` is the method


class Cluster(Protocol):
    """What a turn needs of a cluster; every method raises a `ClusterError` where it cannot do what it says."""

    async def get(self, ref: Ref) -> Object | None:
        """The live object, or None where there is none."""

    async def list(
        self, api_version: str, kind: str, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> Objects:
        """The objects of a kind, in one namespace or in all, that carry these labels."""

    async def apply(self, obj: Object) -> Object:
        """Make the fields of `obj` so, whoever had set them, and return the live object.

        Nothing is sent where neither `obj` nor the live object changed since the last apply.
        """

    async def create(self, obj: Object) -> bool:
        """Make an object, and say whether it was made: False where one of its name is there, whatever is in it."""

    async def apply_defaults(self, obj: Object) -> Object:
        """Make the fields of `obj` so, except those that someone else has set, and return the live object."""

    async def delete(self, ref: Ref, uid: str | None = None) -> None:
        """Delete an object and, in the background, what it owns; with `uid` only that very object. Absent is fine."""

    async def apply_status(self, ref: Ref, status: Object) -> None:
        """Make the status so; nothing is sent where it is so already, and an object that has gone is fine."""

    async def record(self, regarding: Object, reason: str, message: str, warning: bool, action: str) -> None:
        """Write an Event about an object; the same words within minutes are one. Failing to do so is only logged."""

    async def events(self, ref: Ref) -> Objects:
        """The recent core/v1 Events about an object, newest first."""
