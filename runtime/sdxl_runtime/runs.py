"""A ticket that has its place on the device: its pictures, what they took so far, and when their previews are due."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING

from sdxl_runtime.jobs import Job, Ticket
from sdxl_runtime.lanes import LaneKey, Picture

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(eq=False, slots=True)
class Run:
    """A ticket that has its place on the device."""

    ticket: Ticket
    key: LaneKey
    seconds: dict[str, float]
    pictures: list[Picture] = field(default_factory=list)
    """In the order of their seeds."""
    began: float | None = None
    """When its first evaluation began."""
    images: "dict[int, Image]" = field(default_factory=dict)


def due(job: Job, given: int) -> float:
    """After how many steps a picture's next preview is due: they divide its steps evenly."""
    if given >= job.partial_images:
        return float("inf")
    return ceil(job.steps_taken * (given + 1) / (job.partial_images + 1))


class Lap:
    """Adds the seconds of a block to a phase."""

    def __init__(self, clock: Callable[[], float], seconds: dict[str, float], phase: str) -> None:
        self._clock = clock
        self._seconds = seconds
        self._phase = phase

    def __enter__(self) -> None:
        self._began = self._clock()

    def __exit__(self, *exception: object) -> None:
        self._seconds[self._phase] += self._clock() - self._began
