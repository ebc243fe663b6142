"""Findings become conditions: `Ready` sums up, `Reconciling` or `Stalled` is there while it does not hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sdxl_operator.naming import REASONS, Condition, Object, Reason

MESSAGE_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says: whether it holds, why, and in whose words."""

    holds: bool
    reason: Reason
    message: str = ""
    stalled: bool = False
    """Nothing moves until somebody changes something."""

    @property
    def sentence(self) -> str:
        """The message, or the reason's own sentence."""
        return (self.message or REASONS[self.reason])[:MESSAGE_LIMIT]


def timestamp(now: datetime) -> str:
    """A time as Kubernetes writes it."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """The inverse of `timestamp`, fractions of a second allowed."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def conditions(
    findings: Mapping[Condition, Finding], previous: Sequence[Mapping[str, Any]], generation: int, now: datetime
) -> list[Object]:
    """The conditions in the order of the findings; `Reconciling` or `Stalled` is added while `Ready` does not hold."""
    before = {item["type"]: item for item in previous}
    found = dict(findings)
    ready = found[Condition.READY]
    if not ready.holds:
        found[Condition.STALLED if ready.stalled else Condition.RECONCILING] = Finding(
            True, ready.reason, ready.message
        )
    return [_condition(kind, finding, before.get(kind.value), generation, now) for kind, finding in found.items()]


def _condition(
    kind: Condition, finding: Finding, before: Mapping[str, Any] | None, generation: int, now: datetime
) -> Object:
    status = "True" if finding.holds else "False"
    since = before["lastTransitionTime"] if before and before["status"] == status else timestamp(now)
    return {
        "type": kind.value,
        "status": status,
        "reason": finding.reason.value,
        "message": finding.sentence,
        "lastTransitionTime": since,
        "observedGeneration": generation,
    }


def first_failing(findings: Sequence[Finding], otherwise: Finding) -> Finding:
    """The first finding that does not hold: the order is the explanation."""
    return next((finding for finding in findings if not finding.holds), otherwise)


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of a condition that is worth an event."""

    reason: str
    message: str
    warning: bool


def transitions(previous: Sequence[Mapping[str, Any]], current: Sequence[Mapping[str, Any]]) -> list[Transition]:
    """The events of a change of conditions: one for each condition whose status or reason is new."""
    before = {item["type"]: (item["status"], item["reason"]) for item in previous}
    skipped = {Condition.RECONCILING.value, Condition.STALLED.value}
    stalled = any(item["type"] == Condition.STALLED.value for item in current)
    changed = [
        item
        for item in current
        if item["type"] not in skipped and before.get(item["type"]) != (item["status"], item["reason"])
    ]
    unique = {(item["reason"], item["message"]): item for item in changed}
    return [
        Transition(item["reason"], item["message"], warning=stalled and item["status"] == "False")
        for item in unique.values()
    ]
