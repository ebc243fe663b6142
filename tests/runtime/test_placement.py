"""Which batch a waiting request is pinned to, by the further seconds it would cost the device."""

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.placement import Choice, Option, Wish, choose

ONE, TWO, FOUR, EIGHT = (Bucket(64, 64, batch) for batch in (1, 2, 4, 8))
SECONDS = {ONE: 1.0, TWO: 1.1, FOUR: 1.9, EIGHT: 3.3}
"""As measured for an SDXL-shaped UNet on two cores: a row costs less the more there are."""


def options(*buckets: Bucket, taken: dict[Bucket, tuple[int, int]] | None = None) -> list[Option]:
    """`taken`: how many rows somebody has, and the steps of the longest."""
    rows = taken or {}
    return [
        Option(bucket, SECONDS[bucket], bucket.batch - rows.get(bucket, (0, 0))[0], rows.get(bucket, (0, 0))[1])
        for bucket in buckets
    ]


def alike(count: int, steps: int = 30, n: int = 1) -> list[Wish]:
    return [Wish(n, steps)] * count


def test_a_lone_request_does_not_pay_for_idle_rows() -> None:
    assert choose(alike(1), options(ONE, TWO, FOUR, EIGHT), idle=True) == Choice(ONE, 1)


def test_a_crowd_shares_the_batch_in_which_a_picture_costs_least() -> None:
    assert choose(alike(8), options(ONE, TWO, FOUR, EIGHT), idle=True) == Choice(EIGHT, 8)
    assert choose(alike(4), options(ONE, TWO, FOUR, EIGHT), idle=True) == Choice(FOUR, 4)


def test_a_request_joins_a_lane_that_runs_about_as_long_as_it_needs() -> None:
    running = options(ONE, EIGHT, taken={EIGHT: (7, 29)})
    assert choose(alike(1), running, idle=False) == Choice(EIGHT, 1)


def test_a_request_does_not_join_a_lane_it_would_soon_be_alone_in() -> None:
    running = options(ONE, EIGHT, taken={EIGHT: (7, 3)})
    assert choose(alike(1), running, idle=False) == Choice(ONE, 1)


def test_a_second_request_opens_a_further_lane_only_where_that_costs_little_more_than_alone() -> None:
    busy = {ONE: (1, 20)}
    assert choose(alike(1), options(ONE, TWO, EIGHT, taken=busy), idle=False) == Choice(TWO, 1)
    assert choose(alike(1), options(ONE, EIGHT, taken=busy), idle=False) is None


def test_requests_that_wait_together_open_what_none_of_them_would_alone() -> None:
    assert choose(alike(3), options(ONE, EIGHT, taken={ONE: (1, 20)}), idle=False) == Choice(EIGHT, 3)


def test_where_batching_does_not_pay_requests_run_one_after_the_other() -> None:
    flat = [Option(ONE, 1.0, 1), Option(EIGHT, 8.4, 8)]
    assert choose(alike(8), flat, idle=True) == Choice(ONE, 1)


def test_a_batch_that_the_request_names_is_taken_although_it_costs_more() -> None:
    assert choose(alike(1), options(EIGHT), idle=False) == Choice(EIGHT, 1)


def test_with_no_free_row_it_waits() -> None:
    assert choose(alike(1), options(ONE, taken={ONE: (1, 5)}), idle=False) is None


def test_pictures_of_one_request_stay_together_even_if_they_have_to_take_turns() -> None:
    assert choose(alike(1, n=3), options(TWO), idle=True) == Choice(TWO, 1)
    assert choose(alike(1, n=3), options(ONE, TWO, FOUR), idle=True) == Choice(FOUR, 1)


def test_with_nobody_waiting_there_is_nothing_to_choose() -> None:
    assert choose([], options(ONE), idle=True) is None


def test_the_first_in_order_is_part_of_every_choice() -> None:
    assert choose([Wish(1, 150), Wish(1, 4), Wish(1, 4)], options(FOUR), idle=True) == Choice(FOUR, 3)
    assert choose([Wish(3, 10), Wish(2, 10)], options(FOUR), idle=True) == Choice(FOUR, 1)
