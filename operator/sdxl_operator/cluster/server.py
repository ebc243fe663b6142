"""`Cluster` by a real API server."""

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from sdxl_operator.cluster import Objects, fieldpaths
from sdxl_operator.cluster.errors import Conflict, NotFound
from sdxl_operator.cluster.recorder import EventRecorder
from sdxl_operator.cluster.transport import APPLY, MERGE, Transport
from sdxl_operator.naming import FIELD_MANAGER, PROFILES_FIELD_MANAGER, Object, Ref, digest

log = logging.getLogger(__name__)

PAGE = 500
REMEMBERED = 20_000
CONFLICT_ROUNDS = 8


class KubernetesCluster:
    """The cluster behind a `Transport`. It remembers what it applied, so that an unchanged object costs one read."""

    def __init__(self, transport: Transport, recorder: EventRecorder) -> None:
        self._transport = transport
        self._recorder = recorder
        self._applied: dict[Ref, tuple[str, str]] = {}
        self._statuses: dict[Ref, tuple[str, str]] = {}
        self._seen_statuses: dict[Ref, str] = {}

    async def get(self, ref: Ref) -> Object | None:
        """The live object, or None where there is none."""
        live = await self._get(ref)
        if live is None:
            self._forget(ref)
        elif ref in self._statuses:
            self._seen_statuses[ref] = digest(live.get("status"), 32)
        return live

    async def list(
        self, api_version: str, kind: str, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> Objects:
        """The objects of a kind, in one namespace or in all, that carry these labels."""
        selector = ",".join(f"{name}={value}" for name, value in (labels or {}).items())
        return await self._list(Ref(api_version, kind, namespace, ""), {"labelSelector": selector} if selector else {})

    async def apply(self, obj: Object) -> Object:
        """Make the fields of `obj` so, whoever had set them, and return the live object."""
        ref, wanted = Ref.of(obj), digest(obj, 32)
        applied, version = self._applied.get(ref, ("", ""))
        if applied == wanted:
            live = await self._get(ref)
            if live is not None and live["metadata"]["resourceVersion"] == version:
                return live
        live = await self._apply(ref, obj, FIELD_MANAGER, force=True)
        _remember(self._applied, ref, (wanted, live["metadata"]["resourceVersion"]))
        return live

    async def create(self, obj: Object) -> bool:
        """Make an object, and say whether it was made: False where one of its name is there, whatever is in it."""
        try:
            await self._transport.call("create", "POST", Ref.of(obj)._replace(name=""), body=obj)
        except Conflict as conflict:
            # NB: a quota that changes at this moment is a 409 too, and trying again is right
            if conflict.reason != "AlreadyExists":
                raise
            return False
        return True

    async def apply_defaults(self, obj: Object) -> Object:
        """Make the fields of `obj` so, except those that someone else has set, and return the live object."""
        ref = Ref.of(obj)
        wanted = cast(Object, json.loads(json.dumps(obj)))
        for _ in range(CONFLICT_ROUNDS):
            try:
                return await self._apply(ref, wanted, PROFILES_FIELD_MANAGER, force=False)
            except Conflict as conflict:
                taken = [field for field, _ in conflict.fields if fieldpaths.remove(wanted, field)]
                if not taken:
                    raise
                log.info("%s %s: left as it is, someone else set %s", ref.kind, ref.name, ", ".join(taken))
        raise Conflict(
            409, "Conflict", f"{ref.kind} {ref.name}: its owner changed fields faster than they were left out"
        )

    async def delete(self, ref: Ref, uid: str | None = None) -> None:
        """Delete an object and, in the background, what it owns; with `uid` only that very object. Absent is fine."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self._transport.call("delete", "DELETE", ref, body=options)
        except NotFound:
            log.debug("%s %s is gone already", ref.kind, ref.name)
        except Conflict as conflict:
            if not uid:
                raise
            log.info("%s %s is not the one that was to be deleted: %s", ref.kind, ref.name, conflict.message)
        self._forget(ref)

    async def apply_status(self, ref: Ref, status: Object) -> None:
        """Make the status so; nothing is sent where it is so already, and an object that has gone is fine."""
        wanted = digest(status, 32)
        if self._statuses.get(ref) == (wanted, self._seen_statuses.get(ref)):
            return
        identity = {"name": ref.name, **({"namespace": ref.namespace} if ref.namespace else {})}
        body = {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": identity, "status": status}
        try:
            live = await self._apply(ref, body, FIELD_MANAGER, force=True, subresource="status")
        except NotFound:
            self._forget(ref)
            return
        seen = digest(live.get("status"), 32)
        _remember(self._statuses, ref, (wanted, seen))
        _remember(self._seen_statuses, ref, seen)

    async def patch(self, ref: Ref, change: Object, manager: str) -> Object:
        """Merge `change` into an object as `manager`, None taking a field away, and return the live object.

        With a `metadata.resourceVersion` in it, only if nobody changed the object since.
        """
        query = {"fieldManager": manager}
        return await self._transport.call("patch", "PATCH", ref, query=query, body=change, content_type=MERGE)

    async def served_kinds(self, api_version: str) -> frozenset[str]:
        """The kinds of a group and version that the API server serves now."""
        try:
            answer = await self._transport.call("discover", "GET", Ref(api_version, "", "", ""))
        except NotFound:
            return frozenset()
        return frozenset(resource["kind"] for resource in answer["resources"] if "/" not in resource["name"])

    async def record(self, regarding: Object, reason: str, message: str, warning: bool, action: str) -> None:
        """Write an Event about an object; the same words within minutes are one. Failing to do so is only logged."""
        await self._recorder.record(regarding, reason, message, warning, action)

    async def events(self, ref: Ref) -> Objects:
        """The recent core/v1 Events about an object, newest first."""
        selector = f"involvedObject.kind={ref.kind},involvedObject.name={ref.name}"
        found = await self._list(Ref("v1", "Event", ref.namespace or "default", ""), {"fieldSelector": selector})
        return sorted(found, key=_when, reverse=True)

    async def _get(self, ref: Ref) -> Object | None:
        try:
            return await self._transport.call("get", "GET", ref)
        except NotFound as error:
            if type(error) is NotFound:
                return None
            raise

    async def _list(self, collection: Ref, query: Mapping[str, str]) -> Objects:
        found: Objects = []
        page = {"limit": str(PAGE), **query}
        while True:
            answer = await self._transport.call("list", "GET", collection, query=page)
            # NB: the items of a list say neither their apiVersion nor their kind
            kind = {"apiVersion": collection.api_version, "kind": collection.kind}
            found += [{**kind, **item} for item in answer["items"]]
            token = answer["metadata"].get("continue")
            if not token:
                return found
            page["continue"] = token

    async def _apply(self, ref: Ref, body: Object, manager: str, *, force: bool, subresource: str = "") -> Object:
        query = {"fieldManager": manager, "force": str(force).lower()}
        verb = subresource or "apply"
        return await self._transport.call(
            verb, "PATCH", ref, subresource=subresource, query=query, body=body, content_type=APPLY
        )

    def _forget(self, ref: Ref) -> None:
        for memory in (self._applied, self._statuses, self._seen_statuses):
            cast(dict[Ref, Any], memory).pop(ref, None)


def _remember(memory: dict[Ref, Any], ref: Ref, value: Any) -> None:
    if len(memory) >= REMEMBERED:
        memory.clear()  # harmless: each object is applied once more, and the server sees that nothing differs
    memory[ref] = value


def _when(event: Object) -> datetime:
    """When an event happened last; it has up to four places to say so."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    text = next((time for time in times if time), event["metadata"]["creationTimestamp"])
    return datetime.fromisoformat(text)
