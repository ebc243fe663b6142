"""Which declared batch of its size a waiting request is pinned to: the one that costs the device least. Pure.

A request is pinned when it first gets onto the device, since only then is it known who else waits. What counts is the
further work it makes: in a lane that runs anyway, the steps by which it outlasts the others; in one that has to be
opened, all of its steps. So a lone request does not pay for idle rows, and a crowd shares them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from sdxl_runtime.buckets import Bucket

IMPATIENCE = 1.25
"""A further lane may cost up to this many times what the request would cost alone; else it waits for a free row."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A request that waits: so many pictures of so many steps each."""

    n: int
    steps: int


@dataclass(frozen=True, slots=True)
class Option:
    """A lane that a request could join, or open."""

    bucket: Bucket
    seconds: float
    """One UNet evaluation at the full batch."""
    free: int
    """Rows of the batch that nobody has."""
    remaining: int = 0
    """Steps that the longest of its rows still takes; 0 where the lane is not open."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The first `count` wishes go to `bucket`."""

    bucket: Bucket
    count: int


def choose(wishes: Sequence[Wish], options: Iterable[Option], idle: bool) -> Choice | None:
    """Where the first wish goes, and how many of the next ones with it; None: it waits.

    `wishes` are alike (size, adapters) and in the order of acceptance; `idle` is whether the device has nothing else.
    """
    every = list(options)
    priced = [(_price(wishes, option), option) for option in every if option.free > 0] if wishes else []
    if not priced:
        return None
    (price, count), best = min(priced, key=lambda item: (item[0][0], item[1].bucket.batch))
    alone = min(option.seconds for option in every) * wishes[0].steps
    if len(every) == 1 or idle or price <= IMPATIENCE * alone:
        return Choice(best.bucket, count)
    return None


def _price(wishes: Sequence[Wish], option: Option) -> tuple[float, int]:
    """Further seconds of the device per picture, and how many wishes would go."""
    count = pictures = steps = 0
    for wish in wishes:
        if count and pictures + wish.n > option.free:
            break
        count, pictures, steps = count + 1, pictures + wish.n, max(steps, wish.steps)
    # pictures beyond the free rows follow when these are done
    later = ceil(max(0, pictures - option.free) / option.bucket.batch) * steps
    return option.seconds * (max(0, steps - option.remaining) + later) / pictures, count
