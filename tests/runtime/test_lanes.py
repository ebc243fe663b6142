"""Whose turn is next."""

from dataclasses import dataclass
from itertools import pairwise

import pytest

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.jobs import Adapter, Job, Ticket
from sdxl_runtime.lanes import LaneKey, Lanes, Picture

SMALL, LARGE, FOUR = Bucket(64, 64), Bucket(128, 128), Bucket(64, 64, 4)


@dataclass
class Row:
    done: bool = False


def a_picture(bucket: Bucket = SMALL, ready: bool = True, n: int = 1) -> Picture:
    job = Job("x", None, (bucket,), n, 0, 10, 5.0, "Euler")
    return Picture(Ticket(job, 0.0, 60.0), 0, Row() if ready else None)


def shares(costs: dict[Bucket, float], pictures: dict[Bucket, int], turns: int = 400) -> dict[Bucket, float]:
    """How the device's time divides when every lane always has its pictures."""
    lanes, spent = Lanes(), dict.fromkeys(costs, 0.0)
    for bucket, count in pictures.items():
        for _ in range(count):
            lanes.join(LaneKey(bucket), a_picture(bucket))
    for _ in range(turns):
        lane = lanes.next(lambda key: 0.0)
        assert lane is not None
        lanes.took(lane, len(lane.rows()), costs[lane.key.bucket])
        spent[lane.key.bucket] += costs[lane.key.bucket]
    total = sum(spent.values())
    return {bucket: seconds / total for bucket, seconds in spent.items()}


def test_lanes_of_equal_pictures_share_the_devices_time_whatever_a_turn_costs() -> None:
    share = shares({SMALL: 1.0, LARGE: 5.0}, {SMALL: 1, LARGE: 1})
    assert share[SMALL] == pytest.approx(0.5, abs=0.02)


def test_a_lane_of_more_pictures_gets_more_time_and_none_starves() -> None:
    share = shares({SMALL: 1.0, LARGE: 6.0, FOUR: 2.0}, {SMALL: 1, LARGE: 1, FOUR: 4})
    assert share[FOUR] == pytest.approx(4 / 6, abs=0.02)
    assert share[SMALL] == pytest.approx(1 / 6, abs=0.02)


def test_a_lane_that_opens_later_has_no_arrears_to_claim() -> None:
    lanes, order = Lanes(), []
    lanes.join(LaneKey(SMALL), a_picture())
    for turn in range(40):
        if turn == 20:
            lanes.join(LaneKey(LARGE), a_picture(LARGE))
        lane = lanes.next(lambda key: 0.0)
        assert lane is not None
        lanes.took(lane, 1, 1.0)
        order.append(lane.key.bucket)
    assert order[20:].count(LARGE) == pytest.approx(10, abs=1)


def test_a_lane_whose_pictures_are_not_encoded_yet_has_no_turn() -> None:
    lanes = Lanes()
    lanes.join(LaneKey(SMALL), a_picture(ready=False))
    assert lanes.next(lambda key: 0.0) is None


def test_merging_other_adapters_makes_a_lane_wait_longer_but_not_for_ever() -> None:
    lanes, pixel = Lanes(), LaneKey(SMALL, (Adapter("pixel"),))
    lanes.join(LaneKey(SMALL), a_picture())
    lanes.join(pixel, a_picture())
    in_use, order = LaneKey(SMALL).adapters, []
    for _ in range(30):
        lane = lanes.next(lambda key, merged=in_use: 3.0 if key.adapters != merged else 0.0)
        assert lane is not None
        order.append(lane.key)
        in_use = lane.key.adapters
        lanes.took(lane, 1, 1.0)
    switches = sum(before != after for before, after in pairwise(order))
    assert pixel in order
    assert LaneKey(SMALL) in order
    assert switches < 15, "without the cost of merging, lanes would alternate at every turn"


def test_pictures_beyond_the_batch_wait_for_their_turn_in_order() -> None:
    lanes, pictures = Lanes(), [a_picture(FOUR) for _ in range(6)]
    for picture in pictures:
        lanes.join(LaneKey(FOUR), picture)
    lane = lanes.get(LaneKey(FOUR))
    assert lane is not None
    assert (lane.rows(), lane.free) == (pictures[:4], 0)
    lanes.leave(LaneKey(FOUR), pictures[1])
    assert lane.rows() == [pictures[0], *pictures[2:5]]


def test_a_lane_closes_with_its_last_picture() -> None:
    lanes, picture = Lanes(), a_picture()
    lanes.join(LaneKey(SMALL), picture)
    lanes.remove(picture.ticket)
    assert len(lanes) == 0


def test_a_lane_runs_as_long_as_its_longest_picture() -> None:
    lanes, first, second = Lanes(), a_picture(FOUR), a_picture(FOUR)
    first.steps_done = 8
    for picture in (first, second):
        lanes.join(LaneKey(FOUR), picture)
    lane = lanes.get(LaneKey(FOUR))
    assert lane is not None
    assert lane.remaining == 10
