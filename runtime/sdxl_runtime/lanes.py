"""Who shares an evaluation, and whose turn is next: lanes of pictures, chosen by age and measured cost. Pure.

A lane is a bucket with one set of adapters, of the base model or of the refiner. Its urgency grows with the time since
its last turn and with the pictures it carries, and falls with what a turn costs, so that every picture gets about the
same share of the device and no lane starves.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.jobs import Adapter, Ticket


@dataclass(frozen=True, slots=True)
class LaneKey:
    """What the rows of one evaluation have in common."""

    bucket: Bucket
    adapters: tuple[Adapter, ...] = ()
    refiner: bool = False


@dataclass(eq=False, slots=True)
class Picture:
    """One picture of a ticket from the time it has a place in a lane; `row` is the painter's, None until encoded."""

    ticket: Ticket
    index: int
    row: Any = None
    steps_done: int = 0
    partials: int = 0
    """Previews given so far."""

    @property
    def ready(self) -> bool:
        """Whether it can take a step."""
        return self.row is not None and not self.row.done

    @property
    def remaining(self) -> int:
        """Steps it still takes."""
        return self.ticket.job.steps_taken - self.steps_done


@dataclass(eq=False, slots=True)
class Lane:
    """The pictures that share evaluations; beyond the batch they take turns in their order."""

    key: LaneKey
    last_turn: float
    pictures: list[Picture] = field(default_factory=list)

    @property
    def free(self) -> int:
        """Rows of the batch that nobody has."""
        return max(0, self.key.bucket.batch - len(self.pictures))

    @property
    def remaining(self) -> int:
        """Steps that the longest still takes."""
        return max((picture.remaining for picture in self.pictures), default=0)

    def rows(self) -> list[Picture]:
        """Who takes part in the next evaluation."""
        return [picture for picture in self.pictures if picture.ready][: self.key.bucket.batch]


class Lanes:
    """The lanes with pictures in them. One thread uses it."""

    def __init__(self) -> None:
        self._lanes: dict[LaneKey, Lane] = {}

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def __len__(self) -> int:
        return len(self._lanes)

    def get(self, key: LaneKey) -> Lane | None:
        """The lane, if it is open."""
        return self._lanes.get(key)

    def join(self, key: LaneKey, picture: Picture, now: float) -> None:
        """Give a picture a place; opens the lane."""
        self._lanes.setdefault(key, Lane(key, now)).pictures.append(picture)

    def leave(self, key: LaneKey, picture: Picture) -> None:
        """Take a picture's place away; the last one closes the lane."""
        lane = self._lanes[key]
        lane.pictures.remove(picture)
        if not lane.pictures:
            del self._lanes[key]

    def remove(self, ticket: Ticket) -> None:
        """Take away all places of a ticket."""
        for key, lane in list(self._lanes.items()):
            for picture in [picture for picture in lane.pictures if picture.ticket is ticket]:
                self.leave(key, picture)

    def next(self, now: float, cost: Callable[[LaneKey], float]) -> Lane | None:
        """The most urgent lane that has a row to step; `cost` is what its turn takes in seconds, switches included."""
        ready = [(len(lane.rows()), lane) for lane in self]
        urgency = [(_urgency(now, rows, lane, cost(lane.key)), lane) for rows, lane in ready if rows]
        return max(urgency, key=lambda item: item[0])[1] if urgency else None


def _urgency(now: float, rows: int, lane: Lane, cost: float) -> tuple[float, float]:
    age = max(0.0, now - lane.last_turn)
    return age * rows / max(cost, 1e-9), -lane.last_turn
