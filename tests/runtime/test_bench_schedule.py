"""What `sdxl-runtime bench` sends and when."""

from itertools import islice

import pytest

from sdxl_runtime.bench.schedule import (
    Mix,
    Workload,
    parse_guidances,
    parse_sizes,
    parse_steps,
    requests,
)

SMALL = Mix(("128x128",), (1.0,))


def workload(seed: int = 0, **changes: object) -> Workload:
    members: dict[str, object] = {"sizes": SMALL, "steps": parse_steps("8,16:2,32"), "seed": seed}
    return Workload(**(members | changes))  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_requests_at_the_same_times() -> None:
    first, second = (list(islice(requests(workload(3), rate=2.0), 50)) for _ in range(2))
    assert first == second
    other = list(islice(requests(workload(4), rate=2.0), 50))
    assert [planned.at for planned in first] != [planned.at for planned in other]
    assert [planned.body for planned in first] != [planned.body for planned in other]


def test_what_is_asked_for_does_not_depend_on_the_rate() -> None:
    slow, fast, closed = (islice(requests(workload(1), rate), 30) for rate in (0.5, 50.0, None))
    bodies = [planned.body for planned in slow]
    assert bodies == [planned.body for planned in fast] == [planned.body for planned in closed]


def test_gaps_between_arrivals_are_exponential() -> None:
    times = [planned.at for planned in islice(requests(workload(), rate=4.0), 20_000)]
    gaps = [later - earlier for earlier, later in zip([0.0, *times], times, strict=False)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(1 / 4, rel=0.03)
    assert deviation == pytest.approx(mean, rel=0.05)
    assert sum(gap > mean for gap in gaps) / len(gaps) == pytest.approx(0.3679, abs=0.01)


def test_values_come_in_proportion_to_their_weights() -> None:
    steps = [planned.body["num_inference_steps"] for planned in islice(requests(workload()), 8000)]
    assert steps.count(16) / len(steps) == pytest.approx(0.5, abs=0.02)
    assert steps.count(8) / len(steps) == pytest.approx(0.25, abs=0.02)


def test_every_request_has_a_seed_of_its_own() -> None:
    seeds = {planned.body["seed"] for seed in (0, 1) for planned in islice(requests(workload(seed)), 100)}
    assert len(seeds) == 200


def test_a_field_without_a_mix_is_left_to_the_server() -> None:
    (planned,) = islice(requests(workload(steps=None)), 1)
    assert set(planned.body) == {"prompt", "size", "seed"}


def test_extra_members_win_and_null_leaves_one_out() -> None:
    (planned,) = islice(requests(workload(extra={"n": 2, "size": "256x256", "seed": None})), 1)
    assert planned.body["n"] == 2
    assert planned.body["size"] == "256x256"
    assert "seed" not in planned.body


def test_mixes_are_read_with_and_without_weights() -> None:
    assert parse_sizes("1024x1024:3,768x1024") == Mix(("1024x1024", "768x1024"), (3.0, 1.0))
    assert parse_steps("30") == Mix((30,), (1.0,))
    assert parse_guidances("1-4").values == (1.0, 2.0, 3.0, 4.0)
    assert parse_guidances("1,7.5:2") == Mix((1.0, 7.5), (1.0, 2.0))


@pytest.mark.parametrize("text", ["", "8,", "eight", "8:x", "8.5", "8:0", "8:-1"])
def test_what_is_no_mix_of_steps_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no int with a weight|is not positive"):
        parse_steps(text)
