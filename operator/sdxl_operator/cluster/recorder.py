"""Events that people read in `kubectl describe`; writing them never stands in the way of the work."""

import logging
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sdxl_operator.cluster.errors import ClusterError, Conflict
from sdxl_operator.cluster.transport import MERGE, Transport
from sdxl_operator.naming import GROUP, Object, Ref, digest

log = logging.getLogger(__name__)

API_VERSION = "events.k8s.io/v1"
CONTROLLER = f"{GROUP}/operator"
QUIET = timedelta(minutes=10)
NOTE_BYTES = 1000  # the API server refuses a note of more than 1024
REMEMBERED = 10_000


class EventRecorder:
    """Writes events.k8s.io/v1 Events. The same words about the same object within ten minutes are one.

    An event's name is a hash of what it says, so the next process finds it and counts on instead of repeating it.
    """

    def __init__(self, transport: Transport, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._transport = transport
        self._now = now
        self._instance = socket.gethostname()
        self._written: dict[str, datetime] = {}

    async def record(self, regarding: Object, reason: str, message: str, warning: bool, action: str) -> None:
        """Write an event unless it was written minutes ago; what goes wrong is logged."""
        metadata = regarding["metadata"]
        name = f"{metadata['name'][:230]}.{digest([metadata.get('uid'), reason, message], 16)}"
        now = self._now()
        if now - self._written.get(name, datetime.min.replace(tzinfo=UTC)) < QUIET:
            return
        if len(self._written) >= REMEMBERED:
            self._written.clear()
        self._written[name] = now
        ref = Ref(API_VERSION, "Event", metadata.get("namespace") or "default", name)
        body = self._event(ref, regarding, reason, message, warning, action, now)
        try:
            await self._write(ref, body, now)
        except ClusterError as error:
            log.warning("no event %s about %s %s: %s", reason, regarding["kind"], metadata["name"], error)

    async def _write(self, ref: Ref, body: Object, now: datetime) -> None:
        try:
            await self._transport.call("event", "POST", ref._replace(name=""), body=body)
        except Conflict:
            # the same object by its older name, under which the operator may read
            live = await self._transport.call("get", "GET", ref._replace(api_version="v1"))
            count = (live.get("series") or {}).get("count", 1) + 1
            series = {"series": {"count": count, "lastObservedTime": _micro_time(now)}}
            await self._transport.call("event", "PATCH", ref, body=series, content_type=MERGE)

    def _event(
        self, ref: Ref, regarding: Object, reason: str, message: str, warning: bool, action: str, now: datetime
    ) -> dict[str, Any]:
        metadata = regarding["metadata"]
        about = {"apiVersion": regarding["apiVersion"], "kind": regarding["kind"], "name": metadata["name"]}
        about |= {field: metadata[field] for field in ("namespace", "uid", "resourceVersion") if field in metadata}
        return {
            "apiVersion": API_VERSION,
            "kind": "Event",
            "metadata": {"name": ref.name, "namespace": ref.namespace},
            "eventTime": _micro_time(now),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "action": action,
            "note": message.encode()[:NOTE_BYTES].decode(errors="ignore"),
            "regarding": about,
        }


def _micro_time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
