"""A ticket's end is told once, whoever tells it first."""

import pytest

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.jobs import LARGEST_SEED, Abandoned, Job, Outcome, Ticket

OUTCOME = Outcome((), 10, {})


@pytest.fixture
def ticket() -> Ticket:
    return Ticket(Job("x", None, Bucket(64, 64, 2), 3, 0, 10, 5.0, "Euler"), 6.0, accepted_at=0, deadline=60)


def test_a_job_counts_its_evaluations_per_picture(ticket: Ticket) -> None:
    assert ticket.job.evaluations == 30


def test_the_seed_of_every_picture_is_one_a_request_may_name() -> None:
    job = Job("x", None, Bucket(64, 64), 10, LARGEST_SEED - 1, 1, 5.0, "Euler")
    assert [job.seed_of(index) for index in range(3)] == [LARGEST_SEED - 1, LARGEST_SEED, 0]


def test_the_remaining_work_shrinks_with_every_evaluation(ticket: Ticket) -> None:
    left = []
    for done in (0, 15, 30, 31):
        ticket.evaluations = done
        left.append(ticket.remaining_seconds)
    assert left == [6.0, 3.0, 0.0, 0.0]


def test_a_ticket_is_abandoned_by_its_owner_or_by_the_clock(ticket: Ticket) -> None:
    assert not ticket.is_abandoned(59.9)
    assert ticket.is_abandoned(60)
    ticket.abandon()
    assert ticket.is_abandoned(0)


def test_the_first_end_counts(ticket: Ticket) -> None:
    ticket.complete(OUTCOME)
    ticket.fail(Abandoned())
    ticket.complete(Outcome((), 0, {}))
    assert ticket.result.result(0) is OUTCOME


def test_a_result_nobody_waits_for_any_more_is_dropped(ticket: Ticket) -> None:
    ticket.result.cancel()
    ticket.complete(OUTCOME)
    ticket.fail(Abandoned())
    assert ticket.result.cancelled()
