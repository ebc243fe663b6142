"""The validated, immutable request, the ticket it waits with, and what comes of it."""

import contextlib
import threading
from collections.abc import Mapping
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sdxl_runtime.buckets import Bucket

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_SEED = 2**53 - 1
"""Seeds are whole numbers that every JSON reader keeps exact."""


@dataclass(frozen=True, slots=True)
class Job:
    """What one request asks for, complete and checked: nothing downstream checks it again."""

    prompt: str
    """What the picture shows."""
    negative_prompt: str | None
    """What guidance leads away from; None is not the same as empty (`force_zeros_for_empty_prompt`)."""
    bucket: Bucket
    """The shape the request is pinned to for life."""
    n: int
    """Pictures, from 1."""
    seed: int
    """Seed of the first picture."""
    steps: int
    """Denoising steps of each picture."""
    guidance_scale: float
    """Weight of the prompt; no guidance up to 1."""
    scheduler: str
    """A name of `sdxl_runtime.protocol.SCHEDULERS`."""

    def seed_of(self, index: int) -> int:
        """The seed of picture `index` of n: alone with this seed it is the same picture."""
        return (self.seed + index) % (LARGEST_SEED + 1)

    @property
    def evaluations(self) -> int:
        """UNet evaluations when nothing is skipped, counted per picture; guidance's two rows are one."""
        return self.n * self.steps


@dataclass(frozen=True, slots=True)
class Outcome:
    """The pictures of a job and what they took."""

    images: "tuple[Image, ...]"
    """In the order of their seeds."""
    evaluations: int
    """UNet evaluations that were executed, counted as in `Job.evaluations`."""
    seconds: Mapping[str, float]
    """By phase: queue, encode, denoise, decode."""


class Abandoned(Exception):
    """Nobody waits for this job any more: the client went away or its time ran out."""


@dataclass(eq=False, slots=True)
class Ticket:
    """A job from acceptance to its outcome. Times are those of the batcher's clock, in seconds."""

    job: Job
    expected_seconds: float
    """Work by measured cost."""
    accepted_at: float
    deadline: float
    """Nobody waits for the outcome after this."""
    started_at: float = 0.0
    evaluations: int = 0
    """Executed so far; written by the engine."""
    result: "Future[Outcome]" = field(default_factory=Future)
    _abandoned: threading.Event = field(default_factory=threading.Event)

    def abandon(self) -> None:
        """Nobody waits any more: the engine stops at its next step. Safe from any thread."""
        self._abandoned.set()

    def complete(self, outcome: Outcome) -> None:
        """Hand over what came of it, unless its end was told already."""
        with contextlib.suppress(InvalidStateError):
            self.result.set_result(outcome)

    def fail(self, error: BaseException) -> None:
        """Tell why nothing comes of it, unless its end was told already."""
        with contextlib.suppress(InvalidStateError):
            self.result.set_exception(error)

    def is_abandoned(self, now: float) -> bool:
        """Whether somebody still waits at `now`."""
        return self._abandoned.is_set() or now >= self.deadline

    @property
    def remaining_seconds(self) -> float:
        """Work that is left of it."""
        return self.expected_seconds * max(0.0, 1 - self.evaluations / self.job.evaluations)
