"""Which bucket serves a size and n pictures, and what is near; reading buckets from settings is in test_settings."""

import pytest

from sdxl_runtime.buckets import Bucket, buckets_of_size, nearest_sizes, parse_size

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


def test_longer_text_is_part_of_the_key_and_has_more_tokens() -> None:
    assert [Bucket(64, 64, 2, tokens).key for tokens in (77, 154, 231)] == ["64x64b2", "64x64b2t154", "64x64b2t231"]
    assert [Bucket(64, 64, 2, tokens).token_limit for tokens in (77, 154, 231)] == [77, 152, 227]
    assert Bucket.from_json({"width": 64, "height": 64, "promptTokens": 154}) == Bucket(64, 64, 1, 154)
    assert Bucket(64, 64, 1, 154).to_json() == {"width": 64, "height": 64, "batch": 1, "promptTokens": 154}
    assert "promptTokens" not in Bucket(64, 64).to_json()
    with pytest.raises(ValueError, match="promptTokens is 100"):
        Bucket(64, 64, 1, 100)


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
