"""Seconds of work that are left: evaluations by measured cost, divided among the pictures that share them. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping

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


def _crowd(jobs: Iterable[Job]) -> Counter[str]:
    crowd: Counter[str] = Counter()
    for job in jobs:
        crowd[job.size] += job.n
    return crowd


def _left(ticket: Ticket, costs: Mapping[Bucket, Cost], crowd: Counter[str]) -> float:
    job = ticket.job
    buckets = job.buckets if ticket.bucket is None else (ticket.bucket,)
    step = _seconds_per_step(buckets, crowd[job.size], costs)
    left = max(0, job.evaluations - ticket.evaluations)
    share = left / job.evaluations
    return left * step + job.n * share * _image(buckets, costs)


def _seconds_per_step(buckets: Iterable[Bucket], pictures: int, costs: Mapping[Bucket, Cost]) -> float:
    return min(costs[bucket].step / min(bucket.batch, pictures) for bucket in buckets)


def _image(buckets: Iterable[Bucket], costs: Mapping[Bucket, Cost]) -> float:
    return min(costs[bucket].image for bucket in buckets)
