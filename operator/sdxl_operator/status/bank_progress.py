"""How far the Job that fills a bank is, as status tells it: each stage at once, numbers only now and then."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sdxl_operator.naming import Object
from sdxl_operator.status.conditions import parse_time, timestamp
from sdxl_operator.status.history import Source, estimate, named
from sdxl_operator.status.progress import EVERY, rounded, whole

PLACE = ("stage", "bucket", "index", "total")


def sample(
    bank: Mapping[str, Any], said: Mapping[str, Any] | None, others: Sequence[Object], now: datetime
) -> Object | None:
    """`status.progress`: the last one while it is fresh, or while the Job does not answer (None); else a new one.

    A Job of which nothing runs says nothing (an empty mapping), and so does status. `others` are banks that know how
    long buckets take, for a Job that does not know it by itself.
    """
    last: Object | None = (bank.get("status") or {}).get("progress")
    if said is None:
        return last
    if not said.get("stage"):
        return None
    place = _place(said)
    waits = {"waitsFor": str(said["waitsFor"])[:1024]} if said.get("waitsFor") else {}
    waited = last is not None and "waitsFor" in last
    told = last is not None and _same(last, place, PLACE) and (waited or not waits)
    if last is not None and told and now - parse_time(last["time"]) < EVERY:
        return last
    found: Object = {**place, **waits, "seconds": rounded(whole(said, "seconds"), 2), **_eta(bank, said, others)}
    found |= {"summary": _summary(found, said), "time": timestamp(now)}
    return last if last is not None and {**found, "time": last["time"]} == last else found


def needs_others(said: Mapping[str, Any] | None) -> bool:
    """Whether a Job has buckets to make and does not know how long that takes."""
    return bool(said and said.get("left")) and "etaSeconds" not in (said or {})


def message(found: Mapping[str, Any] | None) -> str:
    """A sample as a sentence, empty where there is none, or neither a bucket's turn nor anybody to wait for."""
    if not found or not found.keys() & {"bucket", "waitsFor"}:
        return ""
    bucket = [f"bucket {found['index']} of {found['total']}, {found['bucket']}"] if "bucket" in found else []
    waits = [f"waits for {found['waitsFor']}"] if "waitsFor" in found else []
    text = f"{found['stage']}: " + ", ".join([*bucket, *waits])
    so_far = f", {_span(found['seconds'])} so far" if found["seconds"] else ""
    left = f", about {_span(found['etaSeconds'])} left" if "etaSeconds" in found else ""
    return text + so_far + left + (f", by {found['etaFrom']}" if "etaFrom" in found else "")


def _place(said: Mapping[str, Any]) -> Object:
    place: Object = {"stage": str(said["stage"])}
    if said.get("bucket") and whole(said, "total"):
        place |= {"bucket": str(said["bucket"]), "index": whole(said, "index"), "total": whole(said, "total")}
    return place


def _same(one: Mapping[str, Any], other: Mapping[str, Any], names: Sequence[str]) -> bool:
    return all(one.get(name) == other.get(name) for name in names)


def _eta(bank: Mapping[str, Any], said: Mapping[str, Any], others: Sequence[Object]) -> Object:
    """What the Job says is left, else what other banks make of the buckets that it has to do; empty where unknown."""
    own = bank["metadata"]["name"]
    if said.get("etaSeconds") is not None:
        keys = said.get("etaFrom") or []
        told = {"etaFrom": named([Source(own, str(key)) for key in keys], own)} if keys else {}
        return {"etaSeconds": rounded(whole(said, "etaSeconds"), 2), **told}
    left = [str(key) for key in said.get("left") or []]
    total = estimate(left, others) if left else None
    if total is None:
        return {}
    following = estimate([key for key in left if key != said.get("bucket")], others)
    rest = following.seconds if following is not None else 0
    present = max(total.seconds - rest - whole(said, "bucketSeconds"), 0)
    return {
        "etaSeconds": rounded(round(present + rest), 2),
        "etaFrom": named([*total.measured, *total.similar], own),
    }


def _summary(found: Mapping[str, Any], said: Mapping[str, Any]) -> str:
    """`2/4 compiling, 3 min left`."""
    where = f"{found['index']}/{found['total']} " if "bucket" in found else ""
    stage = re.sub("(?<=[a-z])(?=[A-Z])", " ", found["stage"]).lower()
    total = whole(said, "totalBytes")
    share = f" {min(100 * whole(said, 'bytes') // total, 100)}%" if total else ""
    left = f", {_span(found['etaSeconds'])} left" if "etaSeconds" in found else ""
    return f"{where}{stage}{share}{left}"


def _span(seconds: int) -> str:
    """Seconds for people, in one unit: `45 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds} s"
    return f"{round(seconds / 60)} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
