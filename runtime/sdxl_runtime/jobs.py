"""The validated, immutable request, the ticket it waits with, and what comes of it."""

import contextlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sdxl_runtime.buckets import Bucket

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_SEED = 2**53 - 1
"""Seeds are whole numbers that every JSON reader keeps exact."""

Size = tuple[int, int]
"""Height and width in pixels, in the order of diffusers' `original_size`."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA that a request uses, by the name the service knows it under; `scale` 1 is the adapter as trained."""

    name: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class MicroConditioning:
    """What SDXL's UNet is told about size and crop; None is the bucket's own size, uncropped.

    The `negative_…` members are for the unconditional rows, where None means the same as for the conditional ones
    (as in `diffusers.StableDiffusionXLPipeline`).
    """

    original_size: Size | None = None
    crop: tuple[int, int] = (0, 0)
    """Top and left."""
    target_size: Size | None = None
    negative_original_size: Size | None = None
    negative_crop: tuple[int, int] = (0, 0)
    negative_target_size: Size | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """The picture that an edit starts from, already of the bucket's size."""

    image: "Image"
    """RGB."""
    strength: float
    """Share of the denoising steps that are taken, above 0 to 1."""
    mask: "Image | None" = None
    """Mode L: 255 where the picture is painted anew, 0 where it is kept; None: all of it."""


@dataclass(frozen=True, slots=True)
class Job:
    """What one request asks for, complete and checked: nothing downstream checks it again."""

    prompt: str
    """What the picture shows."""
    negative_prompt: str | None
    """What guidance leads away from; None is not the same as empty (`force_zeros_for_empty_prompt`)."""
    buckets: tuple[Bucket, ...]
    """The declared shapes of one size that may serve it, at least one: it is pinned to one of them for life."""
    n: int
    """Pictures, from 1."""
    seed: int
    """Seed of the first picture."""
    steps: int
    """Denoising steps of each picture, before `start.strength`."""
    guidance_scale: float
    """Weight of the prompt; no guidance up to 1."""
    scheduler: str
    """A name of `sdxl_runtime.protocol.SCHEDULERS`."""
    prompt_2: str | None = None
    """The second text encoder's prompt, where it is another one."""
    negative_prompt_2: str | None = None
    """Likewise for the negative prompt."""
    micro: MicroConditioning = MicroConditioning()
    adapters: tuple[Adapter, ...] = ()
    """In the order of their names: a job's adapters are a key by which turns are grouped."""
    start: Start | None = None
    """What an edit starts from; None: noise."""
    refine: bool = False
    """Whether the refiner takes the last steps."""
    partial_images: int = 0
    """Previews that are wanted on the way, for each picture."""

    def seed_of(self, index: int) -> int:
        """The seed of picture `index` of n: alone with this seed it is the same picture."""
        return (self.seed + index) % (LARGEST_SEED + 1)

    @property
    def steps_taken(self) -> int:
        """Evaluations of one picture: an edit leaves the first ones out, as diffusers does."""
        return self.steps if self.start is None else min(int(self.steps * self.start.strength), self.steps)

    @property
    def evaluations(self) -> int:
        """UNet evaluations when nothing is skipped, counted per picture; guidance's two rows are one."""
        return self.n * self.steps_taken

    @property
    def size(self) -> str:
        """The picture's size as the OpenAI API writes it."""
        return self.buckets[0].size


@dataclass(frozen=True, slots=True)
class Outcome:
    """The pictures of a job and what they took."""

    images: "tuple[Image, ...]"
    """In the order of their seeds."""
    bucket: Bucket
    """The shape that every evaluation of it had."""
    evaluations: int
    """UNet evaluations that were executed, counted as in `Job.evaluations`."""
    seconds: Mapping[str, float]
    """By phase: queue, encode, denoise, decode. Denoise is wall time: turns of others are in it."""


@dataclass(frozen=True, slots=True)
class Partial:
    """A preview of picture `image`, the `index`-th of it, from 0."""

    image: int
    index: int
    picture: "Image"


@dataclass(frozen=True, slots=True)
class Step:
    """So many of the job's evaluations are done."""

    done: int
    of: int


Event = Partial | Step


class Abandoned(Exception):
    """Nobody waits for this job any more: the client went away or its time ran out."""


@dataclass(eq=False, slots=True)
class Ticket:
    """A job from acceptance to its outcome. Times are those of the batcher's clock, in seconds."""

    job: Job
    accepted_at: float
    deadline: float
    """Nobody waits for the outcome after this."""
    bucket: Bucket | None = None
    """The shape the job is pinned to, from its first turn on; written by the engine."""
    started_at: float = 0.0
    evaluations: int = 0
    """Executed so far; written by the engine."""
    result: "Future[Outcome]" = field(default_factory=Future)
    _abandoned: threading.Event = field(default_factory=threading.Event)
    _listeners: list[Callable[[Event], None]] = field(default_factory=list)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with every event from now on, in the engine's thread: it must return at once."""
        self._listeners.append(listener)

    def tell(self, event: Event) -> None:
        """Hand an event to whoever listens."""
        for listener in self._listeners:
            listener(event)

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
        """Whether nobody waits for it any more at `now`."""
        return self._abandoned.is_set() or now >= self.deadline
