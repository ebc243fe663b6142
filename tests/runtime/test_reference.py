"""The reference of an entry: what is painted, how it is recorded, when a picture counts as another one. No torch."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.reference import FILE, PICTURES, Difference, PictureSet, Tolerance, difference, read, record

TOLERANCES = (Tolerance(0.01, 60), Tolerance(0.25, 40), Tolerance(1.0, 30))
ALLOWED = {"latentMaximum": 0.01, "psnr": 60, "minimumSpeedupPercent": 102}


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def test_equal_latents_differ_by_nothing() -> None:
    latents = noise(1, 4, 8, 8)
    found = difference(latents, latents.copy())
    assert found == Difference(0.0, math.inf)
    assert found.to_json() == {"latentMaximum": 0.0, "psnr": 999}
    assert not any(found.exceeds(tolerance) for tolerance in TOLERANCES)


def test_the_psnr_is_that_of_the_definition() -> None:
    eager = np.array([0.0, 10.0], dtype=np.float32)
    found = difference(eager, eager + np.float32(0.1))
    assert found.psnr == pytest.approx(40, abs=1e-4)  # 20 log10(10) - 10 log10(0.01)
    assert found.latent_maximum == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize("wrong", ["nan", "infinite", "zeros", "one value", "another shape"])
def test_a_wrong_picture_exceeds_every_tolerance_and_can_be_told(wrong: str) -> None:
    eager = noise(1, 4, 8, 8)
    found = {
        "nan": np.where(eager == eager[0, 0, 0, 0], np.nan, eager),
        "infinite": np.where(eager == eager[0, 0, 0, 0], np.inf, eager),
        "zeros": np.zeros_like(eager),
        "one value": np.where(eager == eager[0, 0, 0, 0], eager + 5, eager),
        "another shape": noise(2, 4, 8, 8),
    }[wrong]
    result = difference(eager, found)
    assert all(result.exceeds(tolerance) for tolerance in TOLERANCES)
    json.loads(json.dumps(result.to_json()), parse_constant=pytest.fail)
    assert result.to_json()["psnr"] < 60, "no figure that looks like a good one"


@pytest.mark.parametrize("other", [Difference(0.2, 120), Difference(0.001, 20), Difference(math.nan, math.nan)])
def test_the_worse_of_two_has_the_worse_of_each_figure(other: Difference) -> None:
    good = Difference(0.01, 80)
    for found in (good.worst(other), other.worst(good)):
        assert found.exceeds(Tolerance(0.1, 60))


def test_every_image_of_a_batch_has_a_prompt_and_a_seed_of_its_own() -> None:
    assert [job.prompt for job in PICTURES.jobs(Bucket(64, 64))] == [PICTURES.prompts[0]]
    jobs = PICTURES.jobs(Bucket(64, 64, 9))
    assert len({job.seed for job in jobs}) == len(jobs) == 9
    assert jobs[4].prompt == jobs[0].prompt


def test_what_is_recorded_is_read_back_with_how_it_was_painted(tmp_path: Path) -> None:
    pictures, latents = PictureSet(("a", "b"), 7, 3, 4.5, "DDIM"), noise(2, 4, 6, 5)
    member = json.loads(json.dumps(record(tmp_path, pictures, latents)))
    assert [path.name for path in tmp_path.iterdir()] == [FILE] == [member["file"]]
    found = read(tmp_path, member, ALLOWED)
    assert found.pictures == pictures
    assert found.tolerance == Tolerance(0.01, 60)
    assert found.latents.dtype == np.float32
    np.testing.assert_array_equal(found.latents, latents)


@pytest.mark.parametrize(
    "change", [{"prompts": []}, {"steps": 0}, {"steps": None}, {"seed": "many"}, {"scheduler": ...}, {"file": ...}]
)
def test_a_reference_that_cannot_be_read_is_a_value_error(tmp_path: Path, change: dict[str, object]) -> None:
    member = {**record(tmp_path, PICTURES, noise(1, 4, 8, 8)), **change}
    member = {name: value for name, value in member.items() if value is not ...}
    with pytest.raises(ValueError):
        read(tmp_path, member, ALLOWED)


def test_a_file_that_holds_something_else_is_a_value_error(tmp_path: Path) -> None:
    member = record(tmp_path, PICTURES, noise(1, 4, 8, 8))
    (tmp_path / FILE).write_bytes(b"something else")
    with pytest.raises(ValueError, match="the reference cannot be read"):
        read(tmp_path, member, ALLOWED)
