"""A ticket's end is told once, whoever tells it first."""

import pytest
from PIL import Image

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.jobs import LARGEST_SEED, Abandoned, Event, Job, Outcome, Start, Step, Ticket

BUCKET = Bucket(64, 64, 2)
OUTCOME = Outcome((), BUCKET, 10, {})


@pytest.fixture
def ticket() -> Ticket:
    return Ticket(Job("x", None, (BUCKET,), 3, 0, 10, 5.0, "Euler"), accepted_at=0, deadline=60)


def test_a_job_counts_its_evaluations_per_picture(ticket: Ticket) -> None:
    assert ticket.job.evaluations == 30


def test_the_seed_of_every_picture_is_one_a_request_may_name() -> None:
    job = Job("x", None, (BUCKET,), 10, LARGEST_SEED - 1, 1, 5.0, "Euler")
    assert [job.seed_of(index) for index in range(3)] == [LARGEST_SEED - 1, LARGEST_SEED, 0]


@pytest.mark.parametrize(("strength", "taken"), [(1.0, 10), (0.55, 5), (0.1, 1), (0.05, 0)])
def test_an_edit_takes_its_share_of_the_steps(strength: float, taken: int) -> None:
    job = Job("x", None, (BUCKET,), 2, 0, 10, 5.0, "Euler", start=Start(Image.new("RGB", (64, 64)), strength))
    assert (job.steps_taken, job.evaluations) == (taken, 2 * taken)


def test_listeners_are_told_in_order(ticket: Ticket) -> None:
    events: list[Event] = []
    ticket.listen(events.append)
    ticket.tell(Step(1, 30))
    ticket.tell(Step(2, 30))
    assert events == [Step(1, 30), Step(2, 30)]


def test_a_ticket_is_abandoned_by_its_owner_or_by_the_clock(ticket: Ticket) -> None:
    assert not ticket.is_abandoned(59.9)
    assert ticket.is_abandoned(60)
    ticket.abandon()
    assert ticket.is_abandoned(0)


def test_the_first_end_counts(ticket: Ticket) -> None:
    ticket.complete(OUTCOME)
    ticket.fail(Abandoned())
    ticket.complete(Outcome((), BUCKET, 0, {}))
    assert ticket.result.result(0) is OUTCOME


def test_a_result_nobody_waits_for_any_more_is_dropped(ticket: Ticket) -> None:
    ticket.result.cancel()
    ticket.complete(OUTCOME)
    ticket.fail(Abandoned())
    assert ticket.result.cancelled()
