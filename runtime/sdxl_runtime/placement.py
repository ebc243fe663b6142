"""Which declared batch of its size a waiting request is pinned to, and whether it waits for a better place. Pure.

A request is pinned when it first gets onto the device, since only then is it known who else waits. Two questions:

- *What does a picture cost the device there?* In a lane that runs anyway, the steps by which it outlasts the others,
  or its share of all steps where the lane stays as full as it is; in one that has to be opened, all of its steps.
  Those who wait beside it will share that work. So a lone request does not pay for idle rows, and a crowd shares them.
- *When would it be done?* Every picture gets the same share of the device (`lanes`), so a lane opened beside others
  takes its time from theirs, and they from it. A request that would be done no later if it waited for a row of a full
  lane, or for the end of a lane, waits; and it waits a little longer where that saves everybody more.
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

    @property
    def taken(self) -> int:
        """Rows of the batch that somebody has."""
        return self.bucket.batch - self.free

    @property
    def seconds_left(self) -> float:
        """Of the device, until the last of its rows is done."""
        return self.seconds * self.remaining


@dataclass(frozen=True, slots=True)
class Choice:
    """The first `count` wishes go to `bucket`."""

    bucket: Bucket
    count: int


@dataclass(frozen=True, slots=True)
class _Place:
    """What a picture of the first wish would cost somewhere, and when it would be done."""

    price: float
    """Further seconds of the device per picture."""
    finish: float
    """Seconds from now."""


def choose(wishes: Sequence[Wish], options: Iterable[Option], idle: bool) -> Choice | None:
    """Where the first wish goes, and how many of the next ones with it; None: it waits.

    `wishes` are alike (size, adapters) and in the order of acceptance; `idle` is whether the device has nothing else.
    It goes where its pictures cost least, unless waiting is better: what that saves counts for everybody, the time that
    it takes for itself alone.
    """
    every = list(options)
    priced = [(_price(wishes, option), option) for option in every if option.free > 0] if wishes else []
    if not priced:
        return None
    (price, count), best = min(priced, key=lambda item: (item[0][0], item[1].bucket.batch))
    if idle:
        return Choice(best.bucket, count)
    steps, pictures = wishes[0].steps, _pictures(wishes[:count])
    now = _Place(price, _finish(steps, best, best.taken + pictures, every))
    crowd = _pictures(wishes) + sum(option.taken for option in every)
    if any((now.price - later.price) * crowd >= later.finish - now.finish for later in _alternatives(wishes, every)):
        return None
    return Choice(best.bucket, count)


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
    price = option.seconds * further / _sharing(wishes, option)
    if option.remaining:
        price = min(price, option.seconds * steps / min(option.bucket.batch, option.taken + _pictures(wishes)))
    return price, count


def _alternatives(wishes: Sequence[Wish], options: Sequence[Option]) -> Iterator[_Place]:
    """What the first wish could wait for.

    A row of a full lane, or the end of a lane and the batch that is cheapest with nothing else there.
    """
    steps = wishes[0].steps
    alone = min(options, key=lambda option: option.seconds / _sharing(wishes, option))
    for option in options:
        if option.remaining:
            price = alone.seconds * steps / _sharing(wishes, alone)
            yield _Place(price, option.seconds_left + alone.seconds * steps)
        if option.free == 0:
            left = max(0, steps - (option.remaining - option.until_free))
            price = option.seconds * min(left / _sharing(wishes, option), steps / option.bucket.batch)
            wait = _finish(option.until_free, option, option.taken, options)
            yield _Place(price, wait + _finish(steps, option, option.taken, options))


def _finish(steps: int, option: Option, pictures: int, options: Iterable[Option]) -> float:
    """Seconds until a lane of so many pictures has taken so many steps, while the other lanes take their share."""
    others = [other for other in options if other is not option]
    own = option.seconds * steps
    theirs = own * sum(other.taken for other in others) / pictures
    return own + min(sum(other.seconds_left for other in others), theirs)


def _sharing(wishes: Sequence[Wish], option: Option) -> int:
    """How many of those who wait would share an evaluation."""
    return min(option.bucket.batch, _pictures(wishes))


def _pictures(wishes: Iterable[Wish]) -> int:
    return sum(wish.n for wish in wishes)
