"""The two questions that keep or drop a bucket: is it faster, is the picture the same."""

import math

import pytest

pytestmark = pytest.mark.torch


def test_equal_latents_differ_by_nothing() -> None:
    import torch

    from sdxl_runtime.compiling.measure import TOLERANCES, difference

    latents = torch.randn(1, 4, 8, 8)
    found = difference(latents, latents.clone())
    assert found.latent_maximum == 0
    assert found.psnr == math.inf
    assert found.to_json() == {"latentMaximum": 0.0, "psnr": 999}
    assert not any(found.exceeds(tolerance) for tolerance in TOLERANCES.values())


def test_the_psnr_is_that_of_the_definition() -> None:
    import torch

    from sdxl_runtime.compiling.measure import difference

    eager = torch.tensor([0.0, 10.0])
    found = difference(eager, eager + 0.1)
    assert found.psnr == pytest.approx(40, abs=1e-4)  # 20 log10(10) - 10 log10(0.01)
    assert found.latent_maximum == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize("wrong", ["nan", "zeros", "one value"])
def test_a_wrong_picture_exceeds_every_tolerance(wrong: str) -> None:
    import torch

    from sdxl_runtime.compiling.measure import TOLERANCES, difference

    eager = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    compiled = eager.clone()
    if wrong == "nan":
        compiled[0, 0, 0, 0] = math.nan
    elif wrong == "zeros":
        compiled.zero_()
    else:
        compiled[0, 0, 0, 0] += 5
    assert all(difference(eager, compiled).exceeds(tolerance) for tolerance in TOLERANCES.values())


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


def test_every_image_of_a_batch_has_a_prompt() -> None:
    from sdxl_runtime.buckets import Bucket
    from sdxl_runtime.compiling.measure import PROMPTS, comparisons

    assert [job.prompt for job in comparisons(Bucket(64, 64))] == [PROMPTS[0]]
    jobs = comparisons(Bucket(64, 64, 9))
    assert len({job.seed for job in jobs}) == len(jobs) == 9
