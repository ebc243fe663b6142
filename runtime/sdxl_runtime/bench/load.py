"""The two ways to load a server: a number of requests at any time, or arrivals that do not wait for answers."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sdxl_runtime.bench.client import Client
from sdxl_runtime.bench.record import Record
from sdxl_runtime.bench.schedule import Planned


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Bound:
    """When no further request is sent; at least one of the two is given."""

    requests: int | None = None
    seconds: float | None = None
    stopped: Callable[[], bool] = _never
    """Whether somebody wants the load to end before that."""

    def __post_init__(self) -> None:
        if self.requests is None and self.seconds is None:
            raise ValueError("a run needs a bound: a number of requests, or seconds")

    def allows(self, sent: int, at: float) -> bool:
        """Whether the next request, to be sent `at` seconds from the start, is within the bound."""
        if self.stopped():
            return False
        return (self.requests is None or sent < self.requests) and (self.seconds is None or at < self.seconds)


class Clock:
    """Seconds since it was made or set back."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def __call__(self) -> float:
        return time.perf_counter() - self._began

    def reset(self) -> None:
        """The start is now."""
        self._began = time.perf_counter()


Progress = Callable[[Record], None]


async def closed(
    client: Client, plan: Iterator[Planned], clock: Clock, concurrency: int, bound: Bound, progress: Progress
) -> list[Record]:
    """`concurrency` workers, each sending its next request when it has the answer to the last one."""
    records: list[Record] = []
    sent = 0

    async def worker() -> None:
        nonlocal sent
        while bound.allows(sent, clock()):
            sent += 1
            record = await client.send(next(plan), clock())
            records.append(record)
            progress(record)

    async with asyncio.TaskGroup() as workers:
        for _ in range(concurrency):
            workers.create_task(worker())
    return sorted(records, key=lambda record: record.index)


async def opened(
    client: Client, plan: Iterator[Planned], clock: Clock, bound: Bound, progress: Progress
) -> list[Record]:
    """Every request at the time it is planned for, however many are under way."""
    records: list[Record] = []

    async def one(planned: Planned) -> None:
        record = await client.send(planned, planned.at)
        records.append(record)
        progress(record)

    async with asyncio.TaskGroup() as requests:
        sent = 0
        while bound.allows(sent, (planned := next(plan)).at):
            sent += 1
            await asyncio.sleep(max(0.0, planned.at - clock()))
            if bound.stopped():
                break
            requests.create_task(one(planned))
    return sorted(records, key=lambda record: record.index)
