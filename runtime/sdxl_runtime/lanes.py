"""Who shares an evaluation, and whose turn is next: lanes of pictures, chosen by age and measured cost. Pure.

A lane is a bucket with one set of adapters, of the base model or of the refiner. The lane whose pictures have had the
least of the device since they came is next (start-time fair queueing, Goyal, Vin and Cheng 1996, with the pictures as
weights): every picture gets about the same share of the device, whatever an evaluation costs, and no lane starves.
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
    served: float
    """Seconds of the device that each of its pictures has had, on the common scale of all lanes."""
    pictures: list[Picture] = field(default_factory=list)

    @property
    def free(self) -> int:
        """Rows of the batch that nobody has."""
        return max(0, self.key.bucket.batch - len(self.pictures))

    @property
    def remaining(self) -> int:
        """Steps that the longest still takes."""
        return max((picture.remaining for picture in self.pictures), default=0)

    @property
    def until_free(self) -> int:
        """Steps that the shortest still takes."""
        return min((picture.remaining for picture in self.pictures), default=0)

    def rows(self) -> list[Picture]:
        """Who takes part in the next evaluation."""
        return [picture for picture in self.pictures if picture.ready][: self.key.bucket.batch]


class Lanes:
    """The lanes with pictures in them. One thread uses it."""

    def __init__(self) -> None:
        self._lanes: dict[LaneKey, Lane] = {}
        self._served = 0.0
        """Where the lane that had the last turn stood: a new lane begins there, and has no arrears to claim."""

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def __len__(self) -> int:
        return len(self._lanes)

    def get(self, key: LaneKey) -> Lane | None:
        """The lane, if it is open."""
        return self._lanes.get(key)

    def join(self, key: LaneKey, picture: Picture) -> None:
        """Give a picture a place; opens the lane."""
        self._lanes.setdefault(key, Lane(key, self._served)).pictures.append(picture)

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

    def next(self, switching: Callable[[LaneKey], float]) -> Lane | None:
        """The lane that has waited longest for its share, of those that have a row to step.

        `switching` is what a turn of the lane costs in seconds beside its evaluation: the merging of other adapters.
        """
        ready = [(rows, lane) for lane in self if (rows := len(lane.rows()))]
        due = [(lane.served + switching(lane.key) / rows, order, lane) for order, (rows, lane) in enumerate(ready)]
        return min(due)[-1] if due else None

    def took(self, lane: Lane, rows: int, seconds: float) -> None:
        """A lane had a turn of so many rows."""
        self._served = max(self._served, lane.served)
        lane.served += seconds / rows
