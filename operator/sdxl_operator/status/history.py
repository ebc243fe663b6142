"""How long buckets took to make, as banks recorded it, and what others should take by that. Pure."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sdxl_operator.naming import Object

_KEY = re.compile(r"([1-9][0-9]*)x([1-9][0-9]*)b([1-9][0-9]*)(t[0-9]+)?")


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """A bucket whose seconds were measured, and the bank that recorded them."""

    bank: str
    key: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """What some buckets should take together; the loading of the model, once for each Job, is not in it."""

    seconds: float
    measured: tuple[Source, ...]
    """The buckets among them that were made before: they take as long again."""
    similar: tuple[Source, ...]
    """The ones from which all others are reckoned: by pixels × batch, in proportion."""


def seconds_of(bank: Mapping[str, Any] | None) -> dict[str, int]:
    """Bucket → what it took to make, as far as the bank recorded it."""
    entries = ((bank or {}).get("status") or {}).get("entries") or []
    return {entry["key"]: entry["seconds"] for entry in entries if entry.get("seconds")}


def comparable(spec: Mapping[str, Any], banks: Iterable[Object | None]) -> list[Object]:
    """The banks on the same kind of accelerator as one of this spec, those of its precision and number of them first.

    What another chip took says nothing. Where two are as good, the earlier one stays first.
    """
    found = [bank for bank in banks if bank is not None and bank["spec"].get("profile") == spec.get("profile")]
    return sorted(found, key=lambda bank: sum(bank["spec"].get(name) != spec.get(name) for name in _DIFFERENCES))


_DIFFERENCES = ("precision", "acceleratorCount")


def estimate(keys: Sequence[str], banks: Sequence[Object]) -> Estimate | None:
    """What these buckets should take; None where it is not known of each, since none was measured.

    The first bank that has a bucket counts, and for what none has the first one that measured any.
    """
    histories = {bank["metadata"]["name"]: seconds for bank in banks if (seconds := seconds_of(bank))}
    total = 0.0
    measured: set[Source] = set()
    similar: set[Source] = set()
    for key in keys:
        own = next((name for name, seconds in histories.items() if key in seconds), None)
        if own is not None:
            total += histories[own][key]
            measured.add(Source(own, key))
            continue
        reckoned = next(filter(None, (_similar(key, name, seconds) for name, seconds in histories.items())), None)
        if reckoned is None:
            return None
        total += reckoned[0]
        similar.add(reckoned[1])
    return Estimate(total, tuple(sorted(measured)), tuple(sorted(similar)))


def _similar(key: str, bank: str, seconds: Mapping[str, int]) -> tuple[float, Source] | None:
    """By the measured bucket of most nearly as many pixels × batch, and which that is."""
    own = work(key)
    others = {other: size for other in seconds if (size := work(other)) is not None}
    if own is None or not others:
        return None
    source = min(others, key=lambda other: (abs(math.log(own / others[other])), other))
    return seconds[source] * own / others[source], Source(bank, source)


def work(key: str) -> int | None:
    """Pixels × batch of a bucket by its key: by how much buckets differ in what they take; None for no such key."""
    match = _KEY.fullmatch(key)
    return int(match[1]) * int(match[2]) * int(match[3]) if match else None


def named(sources: Iterable[Source], own: str = "") -> str:
    """Sources for people: `128x128b1 and 2 more of bank b`; the bank `own` is `this bank`."""
    by_bank: dict[str, list[str]] = {}
    for source in dict.fromkeys(sources):
        by_bank.setdefault(source.bank, []).append(source.key)
    return "; ".join(
        f"{_listed(keys)} of {'this bank' if bank == own else f'bank {bank}'}" for bank, keys in by_bank.items()
    )


def _listed(keys: Sequence[str], limit: int = 3) -> str:
    more = len(keys) - limit
    return f"{', '.join(keys[:limit])} and {more} more" if more > 0 else ", ".join(keys)
