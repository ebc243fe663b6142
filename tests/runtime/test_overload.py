"""Many more requests than can be served, in simulated time: what is accepted comes in time, and batches are full.

`Turns` and `Batcher` as they are; a painter whose stages take as long as an SDXL-shaped UNet's on an accelerator or on
two cores, on a clock of its own.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from PIL import Image

from sdxl_runtime.batcher import Batcher, QueueFull
from sdxl_runtime.buckets import Bucket, Cost
from sdxl_runtime.jobs import Job, Ticket
from sdxl_runtime.metrics import Metrics
from sdxl_runtime.turns import Turns

STEPS = 8
LIMIT_SECONDS = 20.0
PICTURE = Image.new("RGB", (1, 1))
ACCELERATOR = {1: 0.2, 2: 0.24, 4: 0.34, 8: 0.56}
"""Seconds of a step by batch, where batching pays."""
TWO_CORES = {1: 0.215, 2: 0.4, 4: 0.76, 8: 1.45}
"""Where it pays little."""


@dataclass
class SimulatedTime:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class SimulatedRow:
    steps_left: int
    refining: bool = False

    @property
    def done(self) -> bool:
        return self.steps_left <= 0


@dataclass
class SimulatedPainter:
    """Takes `slower` times as long as it was measured to take."""

    clock: SimulatedTime
    costs: Mapping[Bucket, Cost]
    slower: float
    rows: int = 0
    room: int = 0

    adapters: Sequence[str] = ()
    refines = False
    plain = "Simulated"

    def use(self, adapters: object) -> None: ...

    def text_adapters(self, adapters: object) -> tuple[()]:
        return ()

    def synchronise(self) -> None: ...

    def encode(self, job: Job, bucket: Bucket, indices: Sequence[int]) -> list[SimulatedRow]:
        self.clock.now += 0.2 * self.costs[bucket].image * self.slower
        return [SimulatedRow(job.steps_taken) for _ in indices]

    def step(self, bucket: Bucket, rows: Sequence[SimulatedRow]) -> None:
        self.clock.now += self.costs[bucket].step * self.slower
        self.rows += len(rows)
        self.room += bucket.batch
        for row in rows:
            row.steps_left -= 1

    def decode(self, row: SimulatedRow) -> Image.Image:
        self.clock.now += 0.8 * min(cost.image for cost in self.costs.values()) * self.slower
        return PICTURE


@dataclass
class Clients:
    """A source that is also those who ask: at given times, or a number of them again and again."""

    clock: SimulatedTime
    batcher: Batcher
    buckets: tuple[Bucket, ...]
    arrivals: list[float]
    at_once: int = 0
    accepted: dict[Ticket, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    rejected: int = 0

    def collect(self, wait: bool) -> list[Ticket] | None:
        while self.arrivals:
            under_way = len(self.accepted) - len(self.seconds)
            if self.at_once and under_way < self.at_once:
                self.arrivals.pop()
                self._ask(self.clock.now)
            elif not self.at_once and self.arrivals[0] <= self.clock.now:
                self._ask(self.arrivals.pop(0))
            elif not under_way:
                self.clock.now = self.arrivals[0]
            else:
                break
        new = self.batcher.collect(wait=False)
        return None if wait and not new else new

    def _ask(self, due: float) -> None:
        try:
            ticket = self.batcher.submit(Job("x", None, self.buckets, 1, 0, STEPS, 5.0, "Euler"))
        except QueueFull:
            self.rejected += 1
        else:
            self.accepted[ticket] = due

    def finish(self, ticket: Ticket) -> None:
        self.seconds.append(self.clock.now - self.accepted[ticket])
        self.batcher.finish(ticket)

    def worked(self, stepped: Sequence[Ticket], seconds: float) -> None:
        self.batcher.worked(stepped, seconds)

    def wake(self) -> None: ...

    def stop(self, error: BaseException | None = None) -> None: ...


@dataclass
class Seen:
    per_second: float
    seconds: list[float]
    rejected: int
    full: float


def served(steps: Mapping[int, float], slower: float, arrivals: list[float], at_once: int = 0) -> Seen:
    clock = SimulatedTime()
    costs = {Bucket(64, 64, batch): Cost(seconds, 0.4 * steps[1]) for batch, seconds in steps.items()}
    limit = 1e9 if at_once else LIMIT_SECONDS
    clients = Clients(clock, Batcher(limit, 1e9, costs, clock), tuple(costs), arrivals, at_once)
    painter = SimulatedPainter(clock, costs, slower)
    Turns(painter, clients, Metrics("Simulated"), costs).serve()  # type: ignore[arg-type]
    count = len(clients.seconds)
    return Seen(count / clock.now, sorted(clients.seconds), clients.rejected, painter.rows / painter.room)


def peak(steps: Mapping[int, float], slower: float = 1.0) -> Seen:
    """Sixteen at any time."""
    return served(steps, slower, [0.0] * 96, at_once=16)


def overload(steps: Mapping[int, float], slower: float) -> Seen:
    """Four times the peak, for five minutes."""
    rate, chance, now = 4 * peak(steps, slower).per_second, random.Random("overload"), 0.0
    arrivals: list[Any] = []
    while now < 300:
        now += chance.expovariate(rate)
        arrivals.append(now)
    return served(steps, slower, arrivals)


@pytest.mark.parametrize("slower", [1.0, 1.5])
@pytest.mark.parametrize("steps", [ACCELERATOR, TWO_CORES], ids=["accelerator", "two cores"])
def test_in_an_overload_what_is_accepted_comes_within_twice_the_limit(steps: dict[int, float], slower: float) -> None:
    seen = overload(steps, slower)
    assert seen.rejected > 2 * len(seen.seconds)
    late = sum(seconds > 2 * LIMIT_SECONDS for seconds in seen.seconds)
    assert late <= 0.02 * len(seen.seconds)  # before it is known that work takes longer than it was measured to


@pytest.mark.parametrize("slower", [1.0, 1.5])
@pytest.mark.parametrize("steps", [ACCELERATOR, TWO_CORES], ids=["accelerator", "two cores"])
def test_an_overload_takes_nothing_from_what_is_served(steps: dict[int, float], slower: float) -> None:
    assert overload(steps, slower).per_second >= 0.9 * peak(steps, slower).per_second


def test_under_a_lasting_load_batches_are_full() -> None:
    assert overload(ACCELERATOR, 1.0).full > 0.97


def test_where_batching_pays_a_crowd_gets_nearly_what_the_largest_batch_can_do() -> None:
    best = 8 / (STEPS * ACCELERATOR[8] + 8 * 0.4 * ACCELERATOR[1])
    assert peak(ACCELERATOR).per_second > 0.9 * best
