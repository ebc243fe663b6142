"""What buckets should take by what banks recorded, and by which ones that is."""

import pytest

from sdxl_operator.naming import Object
from sdxl_operator.status.history import Source, comparable, estimate, named, seconds_of, work


def a_bank(name: str, took: dict[str, int] | None = None, **spec: object) -> Object:
    entries = [{"key": key, "state": "Kept", "seconds": seconds} for key, seconds in (took or {}).items()]
    return {"metadata": {"name": name}, "spec": {"profile": "card", **spec}, "status": {"entries": entries}}


@pytest.mark.parametrize(
    ("key", "size"),
    [("128x128b1", 16384), ("1024x768b4", 3145728), ("64x64b2t154", 8192), ("x", None), ("0x64b1", None), ("", None)],
)
def test_the_work_of_a_bucket_is_its_pixels_times_its_batch(key: str, size: int | None) -> None:
    assert work(key) == size


def test_dropped_buckets_took_time_too_and_pending_ones_took_none() -> None:
    entries = [
        {"key": "a", "state": "Dropped", "seconds": 9},
        {"key": "b", "state": "Pending"},
        {"key": "c", "state": "Kept"},
    ]
    assert seconds_of({"status": {"entries": entries}}) == {"a": 9}
    assert seconds_of({}) == seconds_of(None) == {}


def test_a_bucket_takes_as_long_as_in_the_first_bank_that_made_it() -> None:
    banks = [a_bank("a", {"128x128b1": 8}), a_bank("b", {"64x64b1": 3}), a_bank("c", {"64x64b1": 5})]
    found = estimate(["64x64b1"], banks)
    assert found is not None
    assert (found.seconds, found.measured, found.similar) == (3, (Source("b", "64x64b1"),), ())


def test_any_other_takes_as_long_as_the_most_similar_of_the_first_bank_that_made_any() -> None:
    banks = [a_bank("none"), a_bank("a", {"128x128b1": 40, "128x128b8": 200}), a_bank("b", {"256x256b1": 1})]
    found = estimate(["256x256b1", "256x128b1"], banks)
    assert found is not None
    assert (found.measured, found.similar) == ((Source("b", "256x256b1"),), (Source("a", "128x128b1"),))
    assert found.seconds == 1 + 80


def test_what_is_not_known_of_one_is_not_known_of_all() -> None:
    assert estimate(["64x64b1"], []) is None
    assert estimate(["64x64b1"], [a_bank("a"), a_bank("b", {"odd": 9})]) is None
    assert estimate(["64x64b1", "odd"], [a_bank("a", {"64x64b1": 9})]) is None


def test_only_banks_of_the_same_profile_compare_and_the_most_alike_come_first() -> None:
    banks = [
        a_bank("half", precision="FP16", acceleratorCount=1),
        a_bank("other", profile="cpu"),
        a_bank("same", precision="Auto", acceleratorCount=1),
        a_bank("neither", precision="FP16", acceleratorCount=2),
        None,
    ]
    wanted = {"profile": "card", "precision": "Auto", "acceleratorCount": 1}
    assert [bank["metadata"]["name"] for bank in comparable(wanted, banks)] == ["same", "half", "neither"]


def test_sources_are_named_by_bank_and_not_too_many_of_them() -> None:
    many = [Source("b", f"{size}x64b1") for size in (64, 72, 80, 88, 96)]
    assert named(many) == "64x64b1, 72x64b1, 80x64b1 and 2 more of bank b"
    assert named([Source("a", "64x64b1"), Source("b", "72x64b1")], own="b") == "64x64b1 of bank a; 72x64b1 of this bank"
