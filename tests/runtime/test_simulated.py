"""The simulated device: its time, its pictures, and that it says what it is."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.device import open_device
from sdxl_runtime.device.simulated import SimulatedPainter
from sdxl_runtime.jobs import Job, Start
from sdxl_runtime.settings import Backend, Precision, Settings, SimulatedDifference

BUCKET = Bucket(96, 160, 4)


def picture(prompt: str = "a red circle", seed: int = 1, negative: str | None = None, index: int = 0) -> bytes:
    painter = SimulatedPainter(0)
    rows = painter.encode(Job(prompt, negative, (BUCKET,), 2, seed, 1, 5.0, "Euler"), BUCKET, range(2))
    painter.step(BUCKET, rows)
    return painter.decode(rows[index]).tobytes()


def test_an_evaluation_takes_its_time_for_the_whole_batch_whatever_is_used_of_it() -> None:
    slept: list[float] = []
    painter = SimulatedPainter(20, slept.append)
    rows = painter.encode(Job("x", None, (BUCKET,), 1, 0, 2, 5.0, "Euler"), BUCKET, [0])
    painter.step(BUCKET, rows)
    assert not rows[0].done
    painter.step(BUCKET, rows)
    assert rows[0].done
    assert slept == [0.08, 0.08]


def test_a_picture_depends_on_prompt_and_seed_alone() -> None:
    assert picture() == picture()
    assert len({picture(), picture("a blue circle"), picture(seed=2), picture(negative="blue")}) == 4


def test_a_picture_of_many_is_the_one_its_seed_paints_alone() -> None:
    assert picture(seed=1, index=1) == picture(seed=2, index=0)


def test_a_picture_has_the_buckets_size() -> None:
    painter = SimulatedPainter(0)
    row = painter.encode(Job("x", None, (BUCKET,), 1, 0, 1, 5.0, "Euler"), BUCKET, [0])[0]
    assert painter.decode(row).size == painter.preview(row).size == (96, 160)


def test_an_edit_keeps_its_ground() -> None:
    painter, ground = SimulatedPainter(0), Image.new("RGB", (96, 160), (1, 2, 3))
    job = Job("x", None, (BUCKET,), 1, 0, 1, 5.0, "Euler", start=Start(ground, 1.0))
    row = painter.encode(job, BUCKET, [0])[0]
    assert painter.decode(row).getpixel((95, 159)) == (1, 2, 3)
    assert ground.getcolors() == [(96 * 160, (1, 2, 3))]


def test_the_device_says_what_it_is_and_refuses_what_needs_tensors() -> None:
    device = open_device(Settings(backend=Backend.SIMULATED))
    assert device.backend is Backend.SIMULATED
    assert device.facts()["chip"] == "Simulated"
    device.synchronise()
    refusals = (
        lambda: device.dtype(Precision.AUTO),
        lambda: device.torch_device,
        lambda: device.eager(None),
        lambda: device.load(None, BUCKET, None),  # type: ignore[arg-type]
    )
    for refusal in refusals:
        with pytest.raises(RuntimeError, match="the simulated device"):
            refusal()


def painted(differs: SimulatedDifference, with_entry: bool, seed: int = 1) -> np.ndarray:
    painter = SimulatedPainter(0, differs=differs)
    if with_entry:
        painter.bind(BUCKET, Path("/bank"))
    row = painter.encode(Job("x", None, (BUCKET,), 1, seed, 1, 5.0, "Euler"), BUCKET, [0])[0]
    return painter.latents(row)


def test_latents_depend_on_prompt_and_seed_alone_and_are_of_usual_size() -> None:
    plain = painted(SimulatedDifference.NONE, with_entry=False)
    assert plain.shape == (4, 20, 12)
    assert plain.dtype == np.float32
    assert 0.9 < plain.std() < 1.1
    np.testing.assert_array_equal(plain, painted(SimulatedDifference.NONE, with_entry=True))
    assert not np.array_equal(plain, painted(SimulatedDifference.NONE, with_entry=False, seed=2))


@pytest.mark.parametrize(
    ("differs", "with_entry", "without"),
    [(SimulatedDifference.COMPILED, True, False), (SimulatedDifference.ALL, True, True)],
)
def test_pictures_differ_where_the_settings_say_so(
    differs: SimulatedDifference, with_entry: bool, without: bool
) -> None:
    right = painted(SimulatedDifference.NONE, with_entry=False)
    assert (not np.array_equal(painted(differs, with_entry=True), right)) == with_entry
    assert (not np.array_equal(painted(differs, with_entry=False), right)) == without


def test_an_entry_that_is_let_go_of_paints_right_again() -> None:
    painter = SimulatedPainter(0, differs=SimulatedDifference.COMPILED)
    row = painter.encode(Job("x", None, (BUCKET,), 1, 1, 1, 5.0, "Euler"), BUCKET, [0])[0]
    right = painter.latents(row)
    painter.bind(BUCKET, Path("/bank"))
    assert not np.array_equal(painter.latents(row), right)
    painter.release(BUCKET)
    np.testing.assert_array_equal(painter.latents(row), right)
