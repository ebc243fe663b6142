"""Status and events: written where they changed."""

from collections.abc import Iterable, Mapping
from typing import Any

from sdxl_operator.naming import Key, Object, Ref
from sdxl_operator.reconcile.context import Context
from sdxl_operator.status.conditions import transitions


async def publish(obj: Mapping[str, Any], status: Object, context: Context, interested: Iterable[Key] = ()) -> None:
    """Write a status, tell the changes of its conditions as events, and wake whoever waits for this object."""
    previous = obj.get("status") or {}
    if status == previous:
        return
    try:
        await context.cluster.apply_status(Ref.of(obj), status)
    finally:  # an answer that is lost may be that of a write that was done, and the next turn sees nothing to write
        for key in interested:
            context.enqueue(key)
    for change in transitions(previous.get("conditions") or [], status["conditions"]):
        await context.cluster.record(dict(obj), change.reason, change.message, change.warning, "Reconcile")
