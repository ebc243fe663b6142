"""What is kept for a limited time: bounded by bytes, by number and by age; the oldest goes first."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

_Value = TypeVar("_Value")


@dataclass(slots=True)
class _Kept(Generic[_Value]):
    value: _Value
    size: int
    put_at: float
    fetched: bool = False


class Shelf(Generic[_Value]):
    """Values by id, for one event loop. `dropped` is told of every value that leaves.

    The newest value always stays, so the bytes are at most `most_bytes` or those of one value.
    """

    def __init__(
        self,
        most_bytes: int,
        most: int,
        lives_seconds: float,
        dropped: Callable[[_Value], None] = lambda value: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_bytes = most_bytes
        self._most = most
        self._lives_seconds = lives_seconds
        self._dropped = dropped
        self._clock = clock
        self._kept: OrderedDict[bytes, _Kept[_Value]] = OrderedDict()
        self.size = 0
        """Bytes of all that is kept."""

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, key: bytes, value: _Value, size: int) -> None:
        """Keep a value of so many bytes under a new key; what is too old or too much leaves."""
        self.pop(key)
        self._kept[key] = _Kept(value, size, self._clock())
        self.size += size
        self._sweep()

    def get(self, key: bytes) -> _Value | None:
        """The value, from now on counted as fetched; None where there is none any more."""
        self._sweep()
        kept = self._kept.get(key)
        if kept is None:
            return None
        kept.fetched = True
        return kept.value

    def pop(self, key: bytes) -> _Value | None:
        """Let go of a value before its time."""
        kept = self._kept.pop(key, None)
        if kept is None:
            return None
        self.size -= kept.size
        self._dropped(kept.value)
        return kept.value

    def awaited(self, seconds: float) -> bool:
        """Whether something came in within the last seconds and nobody fetched it yet."""
        since = self._clock() - seconds
        return any(not kept.fetched and kept.put_at > since for kept in self._kept.values())

    def _sweep(self) -> None:
        oldest_allowed = self._clock() - self._lives_seconds
        while self._kept:
            key, oldest = next(iter(self._kept.items()))
            too_much = len(self._kept) > 1 and (self.size > self._most_bytes or len(self._kept) > self._most)
            if oldest.put_at > oldest_allowed and not too_much:
                return
            self.pop(key)
