"""Who uses a model or a bank, and when it may go."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sdxl_operator.api.resource import Retention
from sdxl_operator.naming import Object
from sdxl_operator.status.conditions import parse_time, timestamp

NEW = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Usage:
    """The part of a status that speaks of users."""

    used_by: tuple[str, ...]
    retention: Retention
    unused_since: str | None

    @classmethod
    def of(
        cls, users: Sequence[str], wishes: Iterable[Retention], previous: Mapping[str, Any], now: datetime
    ) -> "Usage":
        """Retain if any user wants it; without users the last ones' word holds, and since when is kept."""
        wanted = list(wishes)
        last = Retention(previous.get("retention") or Retention.RETAIN)
        retention = last if not wanted else Retention.RETAIN if Retention.RETAIN in wanted else Retention.DELETE
        unused_since = None if users else previous.get("unusedSince") or timestamp(now)
        return cls(tuple(sorted(set(users))), retention, unused_since)

    def is_new(self, created: str, now: datetime) -> bool:
        """Whether it was made a moment ago: the service that made it has yet to write its name into its own status."""
        return not self.used_by and now - parse_time(created) < NEW

    def to_status(self) -> Object:
        """The members of status."""
        status: Object = {"usedBy": list(self.used_by), "retention": self.retention.value}
        return status if self.unused_since is None else {**status, "unusedSince": self.unused_since}

    def expires_at(self, empty: bool, grace_seconds: int) -> datetime | None:
        """When it is removed: never while it is used or to be retained; what is empty need not be retained."""
        if self.unused_since is None or (self.retention is Retention.RETAIN and not empty):
            return None
        return parse_time(self.unused_since) + timedelta(seconds=grace_seconds)
