"""The picture check at warm-up: which bucket counts as ready, with its entry, without it, or not at all. No torch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdxl_runtime.batcher import Batcher
from sdxl_runtime.engine import Engine
from sdxl_runtime.health import LOADED, PICTURE_DIFFERS, Health, State
from sdxl_runtime.metrics import Metrics
from sdxl_runtime.reference import NoReference, PictureSet, Reference, References, Tolerance
from sdxl_runtime.termination import Failure, Reason
from sdxl_runtime.warmup import WarmUp
from tests.runtime.counting import FOUR, ONE, CountingPainter, Row

DIGEST = "sha256:1"
PICTURES = PictureSet(("first", "second"), 11, 2, 5.0, "Euler")
RIGHT, WRONG = 0.0, 0.5


class Painting(CountingPainter):
    """Paints what the test says: `compiled` with a bucket's entry, `eager` without."""

    def __init__(self, compiled: float = RIGHT, eager: float = RIGHT, **members: Any) -> None:
        super().__init__(**members)
        self.entries = {ONE.key, FOUR.key}
        self.compiled_value, self.eager_value = compiled, eager
        self.running = ""

    def release(self, bucket: Any) -> None:
        super().release(bucket)
        self.entries.discard(bucket.key)

    def step(self, bucket: Any, rows: Any) -> None:
        super().step(bucket, rows)
        self.running = bucket.key

    def latents(self, row: Row) -> np.ndarray:
        value = self.compiled_value if self.running in self.entries else self.eager_value
        return np.full((4, 2, 2), value, dtype=np.float32) + expected()[0]


def expected() -> np.ndarray:
    """The recorded latents of a picture: those of every seed, so that only the painter's value differs."""
    return np.linspace(-1, 1, 16, dtype=np.float32).reshape(1, 4, 2, 2)


def reference(batch: int = 1) -> Reference:
    return Reference(PICTURES, np.concatenate([expected()] * batch), Tolerance(0.01, 60))


class World:
    """What a warm-up writes to."""

    def __init__(self, known: References | None = None) -> None:
        self.health, self.metrics = Health((ONE, FOUR)), Metrics("CPU")
        self.known: References = {ONE: reference(), FOUR: reference(4)} if known is None else known
        for bucket in (ONE, FOUR):
            self.health.bound(bucket, "AheadOfTime", entry=LOADED, digest=DIGEST)
        self.health.loaded("0" * 16)
        self.warm_up = WarmUp(self.health, self.metrics, "Euler", self.known)

    def row(self, index: int = 0) -> dict[str, Any]:
        row: dict[str, Any] = self.health.to_json()["buckets"][index]
        return row

    def metric(self, outcome: str, bucket: str = ONE.key) -> float:
        line = f'sdxl_picture_check{{bucket="{bucket}",outcome="{outcome}"}}'
        text = self.metrics.render(0, 0, 0).decode()
        return float(next(found for found in text.splitlines() if found.startswith(line)).split()[-1])


def test_a_bucket_that_paints_what_was_recorded_is_ready_and_tells_the_figures() -> None:
    world, painter = World(), Painting()
    world.warm_up.run(painter, ONE)
    row = world.row()
    assert (row["state"], row["backend"], row["entry"]) == ("Ready", "AheadOfTime", LOADED)
    assert {name: row["picture"][name] for name in ("outcome", "latentMaximum", "psnr")} == {
        "outcome": "Passed",
        "latentMaximum": 0.0,
        "psnr": 999,
    }
    assert row["picture"]["seconds"] >= 0
    assert (world.metric("Passed"), world.metric("Differs"), world.metric("Skipped")) == (1, 0, 0)
    assert "check" in world.health.to_json()["seconds"]


def test_the_recorded_jobs_are_painted_as_one_full_batch() -> None:
    world, painter = World(), Painting()
    world.warm_up.run(painter, FOUR)
    assert [call for call in painter.calls if call.startswith("encode") and "warm-up" not in call] == [
        "encode first [0]",
        "encode second [0]",
        "encode first [0]",
        "encode second [0]",
    ]
    assert painter.calls.count("step 64x64b4 first0 second0 first0 second0") == PICTURES.steps
    assert world.row(1)["picture"]["outcome"] == "Passed"


def test_an_entry_that_paints_another_picture_is_let_go_of_where_eager_paints_the_recorded_one() -> None:
    world, painter = World(), Painting(compiled=WRONG)
    world.warm_up.run(painter, ONE)
    row = world.row()
    assert (row["state"], row["backend"], row["entry"], row["digest"]) == ("Ready", "Eager", PICTURE_DIFFERS, DIGEST)
    assert "differs from the recorded one by 0.5 (PSNR" in row["why"]
    assert "allowed are 0.01 and 60 dB; without it the picture is right" in row["why"]
    assert row["picture"]["outcome"] == "Differs"
    assert row["picture"]["latentMaximum"] == 0.5
    assert world.health.row(ONE).refused == DIGEST, "it is not tried again"
    assert painter.calls.count("release 64x64b1") == 1
    assert (world.metric("Passed"), world.metric("Differs")) == (0, 1)
    assert b'sdxl_bank_entry{bucket="64x64b1",entry="PictureDiffers"} 1.0' in world.metrics.render(0, 0, 0)


def test_its_cost_is_then_the_one_without_the_entry() -> None:
    world, painter = World(), Painting(compiled=WRONG)
    world.warm_up.run(painter, ONE)
    released = painter.calls.index("release 64x64b1")
    assert any(call.startswith("step 64x64b1 warm-up") for call in painter.calls[released:])


def test_other_weights_end_the_start_with_bucket_figures_and_reason() -> None:
    world, painter = World(), Painting(compiled=WRONG, eager=0.25)
    with pytest.raises(Failure) as failure:
        world.warm_up.run(painter, ONE)
    assert (failure.value.reason, failure.value.bucket) == (Reason.PICTURE_DIFFERS, "64x64b1")
    for words in ("the picture of 64x64b1", "by 0.5 (PSNR", "by 0.25 (PSNR", "allowed are 0.01 and 60 dB"):
        assert words in failure.value.message
    assert world.row()["picture"]["outcome"] == "Differs"
    assert world.metric("Differs") == 1


def test_a_serving_process_goes_on_as_before_whatever_an_entry_that_came_later_says() -> None:
    world, painter = World(), Painting(compiled=WRONG, eager=WRONG)
    world.warm_up.run(painter, ONE, serving=True)
    row = world.row()
    assert (row["state"], row["backend"], row["entry"]) == ("Ready", "Eager", PICTURE_DIFFERS)
    assert "without it by 0.5" in row["why"]


@pytest.mark.parametrize("known", [{}, {ONE: NoReference("its entry has no reference")}], ids=["no entry", "old entry"])
def test_where_nothing_was_recorded_nothing_is_compared_and_it_says_so(known: References) -> None:
    why = next((item.why for item in known.values() if isinstance(item, NoReference)), "it runs without an entry")
    world, painter = World(known), Painting(compiled=WRONG, eager=WRONG)
    world.warm_up.run(painter, ONE)
    row = world.row()
    assert (row["state"], row["entry"]) == ("Ready", LOADED)
    assert row["picture"]["outcome"] == "Skipped"
    assert why in row["picture"]["why"]
    assert "seconds" not in row["picture"]
    assert world.metric("Skipped") == 1
    assert "check" not in world.health.to_json()["seconds"]


def test_an_entry_that_fails_while_it_paints_is_let_go_of() -> None:
    def on_step() -> None:
        if "release 64x64b1" not in painter.calls and "first0" in painter.calls[-1]:
            raise RuntimeError("an instruction that this processor lacks")

    world, painter = World(), Painting(on_step=on_step)
    world.warm_up.run(painter, ONE)
    row = world.row()
    assert (row["state"], row["backend"], row["entry"]) == ("Ready", "Eager", "Corrupt")
    assert row["picture"]["outcome"] == "Skipped"


def test_what_was_compared_is_let_go_of() -> None:
    world = World()
    world.warm_up.run(Painting(), ONE)
    assert list(world.known) == [FOUR]


def opening(painter: Painting, health: Health) -> Callable[[], Painting]:
    def open_painter() -> Painting:
        health.bound(ONE, "AheadOfTime", entry=LOADED, digest=DIGEST)
        health.loaded("0" * 16)
        return painter

    return open_painter


def test_an_engine_with_other_weights_never_becomes_ready_and_keeps_the_reason(tmp_path: Path) -> None:
    health, batcher, known = Health((ONE,)), Batcher(1000, 60, {}), {ONE: reference()}
    painter = Painting(compiled=WRONG, eager=WRONG)
    engine = Engine(opening(painter, health), batcher, health, Metrics("CPU"), (ONE,), {}, references=known)
    engine.start()
    assert engine.settled.wait(10)
    assert engine.join(10)
    assert health.state is State.FAILED
    assert isinstance(engine.error, Failure)
    assert engine.error.reason is Reason.PICTURE_DIFFERS
    assert batcher.collect(wait=True) is None
