"""Which bucket serves a size and n pictures, and what is near; reading buckets from settings is in test_settings."""

import pytest

from sdxl_runtime.buckets import Bucket, Cost, buckets_of_size, cheapest, nearest_sizes, parse_size

SQUARE, SQUARE4, TALL = Bucket(128, 128), Bucket(128, 128, 4), Bucket(96, 160)
TABLE = (SQUARE, SQUARE4, TALL)


def test_auto_is_the_size_of_the_first_bucket() -> None:
    assert buckets_of_size("auto", (TALL, SQUARE)) == [TALL]


def test_a_size_has_all_its_batches() -> None:
    assert buckets_of_size("128x128", TABLE) == [SQUARE, SQUARE4]


@pytest.mark.parametrize("size", ["127x128", "128X128", "", "128x128b4", "auto "])
def test_another_size_has_none(size: str) -> None:
    assert buckets_of_size(size, TABLE) == []


def test_there_is_no_first_size_in_an_empty_table() -> None:
    assert buckets_of_size("auto", ()) == []


def test_a_cost_counts_turns_by_the_batch_and_pictures_by_their_number() -> None:
    cost = Cost(step=2.0, image=0.5)
    assert cost.seconds(SQUARE, 3, 10) == 3 * 10 * 2.0 + 3 * 0.5
    assert cost.seconds(SQUARE4, 3, 10) == 1 * 10 * 2.0 + 3 * 0.5
    assert cost.seconds(SQUARE4, 5, 10) == 2 * 10 * 2.0 + 5 * 0.5


@pytest.mark.parametrize(
    ("n", "step_of_four", "expected"),
    [
        (1, 2.0, SQUARE),  # a lone picture does not pay for idle rows
        (4, 2.0, SQUARE4),  # four in one turn of 2 s beat four turns of 1 s
        (4, 5.0, SQUARE),  # where batching does not pay, one by one
        (1, 1.0, SQUARE),  # of equal ones the smaller batch
        (2, 1.5, SQUARE4),
    ],
)
def test_the_bucket_that_finishes_first_is_taken(n: int, step_of_four: float, expected: Bucket) -> None:
    costs = {SQUARE: Cost(1.0, 0.1), SQUARE4: Cost(step_of_four, 0.1)}
    assert cheapest(n, 20, (SQUARE4, SQUARE), costs) == expected


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1024x768", (1024, 768)),
        ("0x64", None),
        ("64x", None),
        ("64×64", None),
        ("-64x64", None),
        ("064x64", None),
        ("999999x1", None),
        ("64x64\n", None),
        ("٦٤x٦٤", None),
    ],
)
def test_a_size_is_two_plain_whole_numbers(text: str, size: tuple[int, int] | None) -> None:
    assert parse_size(text) == size


def test_the_nearest_size_has_the_nearest_aspect_ratio_first() -> None:
    assert nearest_sizes(100, 160, TABLE) == ["96x160", "128x128"]
    assert nearest_sizes(512, 512, TABLE, count=1) == ["128x128"]
