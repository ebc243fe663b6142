"""Throughput, percentiles, goodput and rejections from records."""

import pytest

from sdxl_runtime.bench.record import NO_ANSWER, Record
from sdxl_runtime.bench.summary import percentile, spread, summarise


def record(index: int = 0, due: float = 0, ended: float = 1, **changes: object) -> Record:
    members: dict[str, object] = {"status": 200, "images": 1, "evaluations": 8, "phases": {"queue": 0.25}}
    return Record(index, due, ended, **(members | changes))  # type: ignore[arg-type]


def rejected(due: float, ended: float, status: int = 429) -> Record:
    return record(due=due, ended=ended, status=status, images=0, evaluations=0, error="rate_limit_exceeded", phases={})


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (1, 1), (50, 50), (95, 95), (99, 99), (100, 100)])
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(percent: float, value: float) -> None:
    assert percentile(list(range(1, 101)), percent) == value


def test_a_percentile_of_few_values_is_one_of_them() -> None:
    assert percentile([1.0, 9.0], 50) == 1.0
    assert percentile([1.0, 9.0], 99) == 9.0


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 101), ([1.0], -1)])
def test_a_percentile_of_nothing_or_beyond_100_is_refused(values: list[float], percent: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, percent)


def test_a_spread_does_not_depend_on_the_order() -> None:
    found = spread([3.0, 1.0, 2.0])
    assert found is not None
    assert (found.mean, found.p50, found.p99, found.largest) == (2.0, 2.0, 3.0, 3.0)
    assert spread([]) is None


def test_throughput_counts_from_the_first_request_to_the_last_answer() -> None:
    summary = summarise([record(0, due=10, ended=12, images=2), record(1, due=11, ended=20)])
    assert summary.seconds == 10
    assert summary.images == 3
    assert summary.images_per_second == pytest.approx(0.3)
    assert summary.evaluations_per_second == pytest.approx(1.6)


def test_latency_is_of_completed_requests_and_starts_when_one_was_due() -> None:
    summary = summarise([record(due=1, ended=4), rejected(1, 1.01), record(status=500, images=0, error="internal")])
    assert summary.latency is not None
    assert summary.latency.mean == pytest.approx(3)
    assert summary.queue is not None
    assert summary.queue.p50 == 0.25


def test_rejections_are_counted_by_status_and_have_a_latency_of_their_own() -> None:
    summary = summarise([record(), rejected(0, 0.02), rejected(0, 0.04), rejected(1, 1.03, status=503)])
    assert summary.rejections == {"429": 2, "503": 1}
    assert summary.failed == 0
    assert summary.rejection_latency is not None
    assert summary.rejection_latency.p99 == pytest.approx(0.04)


def test_failures_are_counted_by_what_went_wrong() -> None:
    lost = record(status=NO_ANSWER, images=0, error="ReadError")
    broken = record(status=500, images=0, error="internal_error")
    summary = summarise([lost, lost, broken, record()])
    assert summary.failed == 3
    assert summary.errors == {"ReadError": 2, "internal_error": 1}
    assert summary.completed == 1


def test_goodput_counts_the_images_that_came_within_the_deadline() -> None:
    records = [record(due=0, ended=2), record(due=0, ended=3), record(due=0, ended=10)]
    assert summarise(records, deadline=3).goodput == pytest.approx(0.2)
    assert summarise(records).goodput is None


def test_nothing_sent_is_a_summary_of_zeros() -> None:
    summary = summarise([])
    assert (summary.requests, summary.images_per_second, summary.latency) == (0, 0.0, None)


def test_an_answer_of_200_without_pictures_is_a_failure() -> None:
    summary = summarise([record(images=0)])
    assert (summary.completed, summary.failed, summary.errors) == (0, 1, {"status 200": 1})
