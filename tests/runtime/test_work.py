"""Seconds of work: evaluations by measured cost, divided among those that share them."""

import pytest

from sdxl_runtime.buckets import Bucket, Cost
from sdxl_runtime.jobs import Job, Ticket
from sdxl_runtime.work import Pace, gain_percent, pictures_per_second, seconds_done, seconds_left, seconds_of

ONE, FOUR, OTHER = Bucket(64, 64), Bucket(64, 64, 4), Bucket(96, 96)
COSTS = {ONE: Cost(1.0, 0.5), FOUR: Cost(2.0, 0.5), OTHER: Cost(3.0, 0.5)}


def a_ticket(n: int = 1, steps: int = 10, buckets: tuple[Bucket, ...] = (ONE, FOUR)) -> Ticket:
    return Ticket(Job("x", None, buckets, n, 0, steps, 5.0, "Euler"), 0.0, 60.0)


def test_a_lone_request_costs_its_steps_at_the_smallest_batch() -> None:
    assert seconds_left([a_ticket()], COSTS) == 10 * 1.0 + 0.5


def test_requests_of_one_size_share_their_evaluations() -> None:
    assert seconds_left([a_ticket() for _ in range(4)], COSTS) == 4 * (10 * 2.0 / 4 + 0.5)


def test_requests_of_different_sizes_do_not() -> None:
    tickets = [a_ticket(), a_ticket(buckets=(OTHER,))]
    assert seconds_left(tickets, COSTS) == (10 * 1.0 + 0.5) + (10 * 3.0 + 0.5)


def test_a_request_that_is_pinned_costs_what_its_bucket_costs() -> None:
    ticket = a_ticket()
    ticket.bucket = FOUR
    assert seconds_left([ticket], COSTS) == 10 * 2.0 + 0.5


def test_work_that_is_done_no_longer_counts() -> None:
    ticket = a_ticket(n=2)
    ticket.evaluations = 15
    assert seconds_left([ticket], COSTS) == pytest.approx(5 * 1.0 + 0.25 * 2 * 0.5)


def test_what_a_request_adds_is_counted_in_the_company_it_joins() -> None:
    job = a_ticket().job
    assert seconds_of(job, [], COSTS) == 10 * 1.0 + 0.5
    assert seconds_of(job, [a_ticket(), a_ticket(), a_ticket()], COSTS) == 10 * 2.0 / 4 + 0.5


def test_nothing_is_no_work() -> None:
    assert seconds_left([], COSTS) == 0


def test_what_a_batch_brings_is_told_against_the_smallest_of_its_size() -> None:
    assert [gain_percent(bucket, COSTS) for bucket in (ONE, FOUR, OTHER)] == [100, 200, 100]


def test_what_a_bucket_can_do_counts_evaluations_and_decoding() -> None:
    assert pictures_per_second(FOUR, COSTS, 10) == 4 / (10 * 2.0 + 4 * 0.5)


def test_an_evaluation_does_as_much_work_as_is_left_less_after_it() -> None:
    tickets = [a_ticket(), a_ticket(n=2), a_ticket(buckets=(OTHER,))]
    before, done = seconds_left(tickets, COSTS), seconds_done([tickets[0], tickets[1], tickets[1]], tickets, COSTS)
    tickets[0].evaluations += 1
    tickets[1].evaluations += 2
    assert seconds_left(tickets, COSTS) == pytest.approx(before - done)


def test_a_pace_that_saw_nothing_takes_work_for_what_it_was_measured_to_take() -> None:
    assert Pace().seconds(7.0) == 7.0


def test_a_pace_learns_how_long_work_takes_and_forgets_what_was_long_ago() -> None:
    pace = Pace()
    for _ in range(300):
        pace.learn(1.0, 1.5)
    assert pace.seconds(10.0) == pytest.approx(15.0, rel=0.02)
    for _ in range(300):
        pace.learn(1.0, 0.9)
    assert pace.seconds(10.0) == pytest.approx(9.0, rel=0.02)


def test_one_slow_turn_does_not_turn_everybody_away() -> None:
    pace = Pace()
    pace.learn(1.0, 6.0)
    assert pace.seconds(10.0) < 15.0
