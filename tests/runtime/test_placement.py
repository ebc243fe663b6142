"""Which batch a waiting request is pinned to, by the further seconds it would cost the device."""

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.placement import Choice, Option, Wish, choose

ONE, TWO, FOUR, EIGHT = (Bucket(64, 64, batch) for batch in (1, 2, 4, 8))
SECONDS = {ONE: 1.0, TWO: 1.1, FOUR: 1.9, EIGHT: 3.3}
"""As measured for an SDXL-shaped UNet on two cores: a row costs less the more there are."""


def options(*buckets: Bucket, taken: dict[Bucket, list[int]] | None = None) -> list[Option]:
    """`taken`: the steps that each row of a lane still takes."""
    rows = taken or {}
    return [
        Option(
            bucket,
            SECONDS[bucket],
            bucket.batch - len(rows.get(bucket, [])),
            max(rows.get(bucket, [0])),
            min(rows.get(bucket, [0])),
        )
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
    running = options(ONE, EIGHT, taken={EIGHT: [29] * 7})
    assert choose(alike(1), running, idle=False) == Choice(EIGHT, 1)


def test_a_request_does_not_join_a_lane_it_would_soon_be_alone_in() -> None:
    running = options(ONE, EIGHT, taken={EIGHT: [3]})
    assert choose(alike(1, steps=8), running, idle=False) == Choice(ONE, 1)


def test_a_request_that_would_be_done_no_sooner_lets_a_lane_end_first() -> None:
    assert choose(alike(1), options(ONE, EIGHT, taken={EIGHT: [3]}), idle=False) is None


def test_a_request_joins_a_lane_that_stays_full_though_its_mates_leave_before_it() -> None:
    staggered = options(ONE, EIGHT, taken={EIGHT: [1, 5, 9, 13, 17, 21, 25]})
    assert choose(alike(1), staggered, idle=False) == Choice(EIGHT, 1)


def test_a_row_of_a_full_lane_is_waited_for_where_a_lane_beside_it_would_be_slower() -> None:
    staggered = options(ONE, EIGHT, taken={EIGHT: [1, 5, 9, 13, 17, 21, 25, 29]})
    assert choose(alike(1), staggered, idle=False) is None


def test_a_request_joins_the_only_lane_there_is_rather_than_wait_for_its_end() -> None:
    assert choose(alike(1, steps=100), options(FOUR, taken={FOUR: [3]}), idle=False) == Choice(FOUR, 1)


def test_in_a_crowd_a_free_row_is_taken_at_once_since_others_will_share_the_lane() -> None:
    running = options(ONE, EIGHT, taken={EIGHT: [3] * 7})
    assert choose(alike(8), running, idle=False) == Choice(EIGHT, 1)


def test_a_second_request_opens_a_further_lane_only_where_it_is_done_sooner_and_that_costs_little_more() -> None:
    assert choose(alike(1), options(ONE, TWO, EIGHT, taken={ONE: [100]}), idle=False) == Choice(TWO, 1)
    assert choose(alike(1), options(ONE, TWO, EIGHT, taken={ONE: [10]}), idle=False) is None
    assert choose(alike(1), options(ONE, EIGHT, taken={ONE: [10]}), idle=False) is None


def test_a_short_request_does_not_wait_for_a_long_one() -> None:
    assert choose(alike(1, steps=4), options(ONE, TWO, taken={ONE: [150]}), idle=False) == Choice(TWO, 1)
    assert choose(alike(1, steps=4), options(ONE, EIGHT, taken={EIGHT: [150] * 8}), idle=False) == Choice(ONE, 1)


def test_under_load_no_small_lane_takes_time_from_a_large_one() -> None:
    busy = options(ONE, FOUR, taken={FOUR: [5, 10, 15, 20]})
    assert choose(alike(4, steps=20), busy, idle=False) is None
    assert choose(alike(1, steps=20), busy, idle=False) is None


def test_requests_that_wait_together_open_what_none_of_them_would_alone() -> None:
    busy = {ONE: [30]}
    assert choose(alike(1), options(ONE, EIGHT, taken=busy), idle=False) is None
    assert choose(alike(7), options(ONE, EIGHT, taken=busy), idle=False) == Choice(EIGHT, 7)


def test_where_batching_does_not_pay_requests_run_one_after_the_other() -> None:
    flat = [Option(ONE, 1.0, 1), Option(EIGHT, 8.4, 8)]
    assert choose(alike(8), flat, idle=True) == Choice(ONE, 1)


def test_a_batch_that_the_request_names_is_taken_although_it_costs_more() -> None:
    assert choose(alike(1), options(EIGHT), idle=False) == Choice(EIGHT, 1)


def test_with_no_free_row_it_waits() -> None:
    assert choose(alike(1), options(ONE, taken={ONE: [5]}), idle=False) is None


def test_pictures_of_one_request_stay_together_even_if_they_have_to_take_turns() -> None:
    assert choose(alike(1, n=3), options(TWO), idle=True) == Choice(TWO, 1)
    assert choose(alike(1, n=3), options(ONE, TWO, FOUR), idle=True) == Choice(FOUR, 1)


def test_with_nobody_waiting_there_is_nothing_to_choose() -> None:
    assert choose([], options(ONE), idle=True) is None


def test_the_first_in_order_is_part_of_every_choice() -> None:
    assert choose([Wish(1, 150), Wish(1, 4), Wish(1, 4)], options(FOUR), idle=True) == Choice(FOUR, 3)
    assert choose([Wish(3, 10), Wish(2, 10)], options(FOUR), idle=True) == Choice(FOUR, 1)
