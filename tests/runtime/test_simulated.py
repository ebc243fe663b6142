"""The simulated device: its time, its pictures, and that it says what it is."""

import pytest
from PIL import Image

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.device import open_device
from sdxl_runtime.device.simulated import SimulatedPainter
from sdxl_runtime.jobs import Job, Start
from sdxl_runtime.settings import Backend, Precision, Settings

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
