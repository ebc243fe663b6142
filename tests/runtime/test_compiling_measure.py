"""How graphs are timed against each other, and what they paint to be compared."""

import pytest

pytestmark = pytest.mark.torch


def test_graphs_are_timed_in_turns_after_one_unmeasured_run() -> None:
    from sdxl_runtime.compiling.measure import interleaved

    calls: list[str] = []
    times = interleaved(
        (lambda: calls.append("a"), lambda: calls.append("b")), (), lambda: calls.append("."), rounds=3, seconds=0
    )
    assert "".join(calls) == "ab." + "a.b." * 3
    assert all(0 <= time.minimum <= time.median for time in times)


def test_quick_graphs_are_timed_more_often_but_not_for_ever() -> None:
    from sdxl_runtime.compiling.measure import interleaved

    count = [0]

    def graph() -> None:
        count[0] += 1

    interleaved((graph,), (), lambda: None, rounds=2, seconds=60)
    assert count[0] == 1 + 25 * 2


def test_the_job_compares_what_is_recorded_and_more_steps_of_it() -> None:
    from sdxl_runtime.buckets import Bucket
    from sdxl_runtime.compiling.measure import COMPARED
    from sdxl_runtime.reference import PICTURES

    bucket = Bucket(64, 64, 2)
    jobs = list(zip(COMPARED.jobs(bucket), PICTURES.jobs(bucket), strict=True))
    assert all((job.prompt, job.seed) == (recorded.prompt, recorded.seed) for job, recorded in jobs)
    assert COMPARED.steps > PICTURES.steps
