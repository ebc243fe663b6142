"""Which declared batch of its size a waiting request is pinned to: the one that costs the device least. Pure.

A request is pinned when it first gets onto the device, since only then is it known who else waits. What counts is the
further work that it makes: in a lane that runs anyway, the steps by which it outlasts the others; in one that has to be
opened, all of its steps. Those who wait beside it will share that work. So a lone request does not pay for idle rows, a
crowd shares them, and nobody is made to wait for one request that could have waited a little itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from sdxl_runtime.buckets import Bucket


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
    until_free: int = 0
    """Steps that the shortest of its rows still takes; 0 where the lane is not open."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The first `count` wishes go to `bucket`."""

    bucket: Bucket
    count: int


def choose(wishes: Sequence[Wish], options: Iterable[Option], idle: bool) -> Choice | None:
    """Where the first wish goes, and how many of the next ones with it; None: it waits.

    `wishes` are alike (size, adapters) and in the order of acceptance; `idle` is whether the device has nothing else.
    It goes where its pictures cost least, unless it would cost less after a while: what it saves by waiting counts for
    everybody, the time it waits for itself alone.
    """
    every = list(options)
    priced = [(_price(wishes, option), option) for option in every if option.free > 0] if wishes else []
    if not priced:
        return None
    (price, count), best = min(priced, key=lambda item: (item[0][0], item[1].bucket.batch))
    crowd = sum(wish.n for wish in wishes) + sum(option.bucket.batch - option.free for option in every)
    if idle or all((price - later) * crowd <= wait for wait, later in _alternatives(wishes, every)):
        return Choice(best.bucket, count)
    return None


def _price(wishes: Sequence[Wish], option: Option) -> tuple[float, int]:
    """Further seconds of the device per picture, and how many wishes would go now."""
    count = pictures = steps = 0
    for wish in wishes:
        if count and pictures + wish.n > option.free:
            break
        count, pictures, steps = count + 1, pictures + wish.n, max(steps, wish.steps)
    further = max(0, steps - option.remaining)
    if pictures > option.free:  # the rest of one request follows when its first pictures are done
        further += ceil((pictures - option.free) / option.bucket.batch) * steps
        return option.seconds * further / pictures, count
    return option.seconds * further / _sharing(wishes, option), count


def _alternatives(wishes: Sequence[Wish], options: Sequence[Option]) -> Iterator[tuple[float, float]]:
    """What the first wish could wait for: after how many seconds, and what each picture would cost then.

    A row of a full lane, or the end of a lane and the batch that is cheapest with nothing else there.
    """
    steps = wishes[0].steps
    alone = min(option.seconds * steps / _sharing(wishes, option) for option in options)
    for option in options:
        if option.remaining:
            yield option.seconds * option.remaining, alone
        if option.free == 0:
            left = max(0, steps - (option.remaining - option.until_free))
            yield option.seconds * option.until_free, option.seconds * left / _sharing(wishes, option)


def _sharing(wishes: Sequence[Wish], option: Option) -> int:
    """How many of those who wait would share an evaluation."""
    return min(option.bucket.batch, sum(wish.n for wish in wishes))
