"""Seconds of work that are left: evaluations by measured cost, divided among the pictures that share them. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import exp

from sdxl_runtime.buckets import Bucket, Cost
from sdxl_runtime.jobs import Job, Ticket


def seconds_left(tickets: Iterable[Ticket], costs: Mapping[Bucket, Cost]) -> float:
    """The device's seconds until all of these are done: Σ remaining evaluations × seconds ÷ rows that share them."""
    present = list(tickets)
    crowd = _crowd(ticket.job for ticket in present)
    return sum(_left(ticket, costs, crowd) for ticket in present)


def seconds_of(job: Job, others: Iterable[Ticket], costs: Mapping[Bucket, Cost]) -> float:
    """What a job adds, in the company of those that are accepted already."""
    crowd = _crowd([job, *(ticket.job for ticket in others)])
    step = _seconds_per_step(job.buckets, crowd[job.size], costs)
    return job.evaluations * step + job.n * _image(job.buckets, costs)


def seconds_done(stepped: Iterable[Ticket], accepted: Iterable[Ticket], costs: Mapping[Bucket, Cost]) -> float:
    """By how much one evaluation lowers `seconds_left`; `stepped` has the ticket of each of its pictures."""
    crowd = _crowd(ticket.job for ticket in accepted)
    return sum(_whole(ticket, costs, crowd) / ticket.job.evaluations for ticket in stepped)


class Pace:
    """How many seconds a second of work takes, learned from every turn.

    Costs are what a full batch took at warm-up, with nothing else to do. Then come batches that are not full, previews,
    and clients who want processor time themselves: what is promised of the queue has to know.
    """

    window_seconds = 60.0
    """What was seen so long ago counts for a third."""
    prior_seconds = 10.0
    """Of work that took as long as it was measured to take, before anything was seen."""

    def __init__(self) -> None:
        self._work = self._took = self.prior_seconds

    def learn(self, work: float, took: float) -> None:
        """A turn of the device did so many seconds of work in so many seconds."""
        kept = exp(-took / self.window_seconds)
        self._work = kept * self._work + work
        self._took = kept * self._took + took

    def seconds(self, work: float) -> float:
        """How long this work will take."""
        return work * self._took / self._work


def gain_percent(bucket: Bucket, costs: Mapping[Bucket, Cost]) -> int:
    """How much faster a picture's step is in a full batch than in the smallest one of its size; 100: not at all."""
    smallest = min((other for other in costs if other.size == bucket.size), key=lambda other: other.batch)
    return round(100 * (costs[smallest].step / smallest.batch) / (costs[bucket].step / bucket.batch))


def pictures_per_second(bucket: Bucket, costs: Mapping[Bucket, Cost], steps: int) -> float:
    """What a bucket can do at full batch when nothing else runs."""
    cost = costs[bucket]
    return bucket.batch / (steps * cost.step + bucket.batch * cost.image)


def _crowd(jobs: Iterable[Job]) -> Counter[str]:
    crowd: Counter[str] = Counter()
    for job in jobs:
        crowd[job.size] += job.n
    return crowd


def _left(ticket: Ticket, costs: Mapping[Bucket, Cost], crowd: Counter[str]) -> float:
    left = max(0, ticket.job.evaluations - ticket.evaluations)
    return _whole(ticket, costs, crowd) * left / ticket.job.evaluations


def _whole(ticket: Ticket, costs: Mapping[Bucket, Cost], crowd: Counter[str]) -> float:
    """All of a ticket, from its first evaluation on."""
    job = ticket.job
    buckets = job.buckets if ticket.bucket is None else (ticket.bucket,)
    return job.evaluations * _seconds_per_step(buckets, crowd[job.size], costs) + job.n * _image(buckets, costs)


def _seconds_per_step(buckets: Iterable[Bucket], pictures: int, costs: Mapping[Bucket, Cost]) -> float:
    return min(costs[bucket].step / min(bucket.batch, pictures) for bucket in buckets)


def _image(buckets: Iterable[Bucket], costs: Mapping[Bucket, Cost]) -> float:
    return min(costs[bucket].image for bucket in buckets)
