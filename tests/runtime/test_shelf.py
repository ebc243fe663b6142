"""What is kept for a limited time is bounded in every way."""

from sdxl_runtime.app.shelf import Shelf


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def shelf(clock: Clock, dropped: list[str], most_bytes: int = 100, most: int = 10) -> Shelf[str]:
    return Shelf(most_bytes, most, 60, dropped.append, clock)


def key(number: int) -> bytes:
    return b"%d" % number


def test_ten_thousand_values_take_no_more_bytes_than_allowed_and_the_oldest_go_first() -> None:
    dropped: list[str] = []
    kept = shelf(Clock(), dropped)
    for number in range(10_000):
        kept.put(key(number), f"value {number}", 30)
        assert kept.size <= 100
    assert len(kept) == 3
    assert kept.get(key(9_996)) is None
    assert kept.get(key(9_997)) == "value 9997"
    assert dropped == [f"value {number}" for number in range(9_997)]


def test_values_without_bytes_are_bounded_by_their_number() -> None:
    kept = shelf(Clock(), [])
    for number in range(1000):
        kept.put(key(number), "", 0)
    assert len(kept) == 10


def test_a_value_that_is_too_large_is_alone() -> None:
    dropped: list[str] = []
    kept = shelf(Clock(), dropped)
    kept.put(b"1", "small", 10)
    kept.put(b"2", "large", 1000)
    assert (len(kept), kept.size, kept.get(b"2"), dropped) == (1, 1000, "large", ["small"])
    kept.put(b"3", "small again", 10)
    assert (len(kept), kept.size) == (1, 10)


def test_a_value_leaves_when_its_time_is_over() -> None:
    clock, dropped = Clock(), list[str]()
    kept = shelf(clock, dropped)
    kept.put(b"1", "first", 10)
    clock.now = 30
    kept.put(b"2", "second", 10)
    clock.now = 60
    assert kept.get(b"1") is None
    assert kept.get(b"2") == "second"
    assert (kept.size, dropped) == (10, ["first"])


def test_a_value_is_let_go_of_before_its_time_once() -> None:
    dropped: list[str] = []
    kept = shelf(Clock(), dropped)
    kept.put(b"1", "first", 10)
    assert kept.pop(b"1") == "first"
    assert kept.pop(b"1") is None
    assert (kept.size, len(kept), dropped) == (0, 0, ["first"])


def test_a_value_is_awaited_until_it_is_fetched_or_some_seconds_old() -> None:
    clock = Clock()
    kept = shelf(clock, [])
    kept.put(b"1", "first", 10)
    assert kept.awaited(30)
    clock.now = 30
    assert not kept.awaited(30)
    kept.put(b"2", "second", 10)
    assert kept.awaited(30)
    kept.get(b"2")
    assert not kept.awaited(30)
