"""The demo model's scenes: words, numbers, drawings. No model is run here."""

import random

import numpy as np
import pytest

from sdxl_runtime.demo_model.judge import judge
from sdxl_runtime.demo_model.scenes import (
    BUCKETS,
    COLOURS,
    PALETTE,
    PLACES,
    SHAPES,
    SIZES,
    Scene,
    all_scenes,
    draw_mask,
    held_back_scenes,
    prompt_for,
    training_scenes,
)

SCENE = Scene("circle", "red", "blue", "large", "top left")


def test_there_is_a_scene_for_every_combination_whose_two_colours_differ() -> None:
    scenes = all_scenes()
    assert len(scenes) == len(set(scenes)) == len(SHAPES) * len(COLOURS) * (len(COLOURS) - 1) * len(SIZES) * len(PLACES)
    assert all(scene.colour != scene.background for scene in scenes)


def test_no_two_scenes_share_a_prompt() -> None:
    assert len({scene.prompt for scene in all_scenes()}) == len(all_scenes())


def test_the_held_back_scenes_are_always_the_same_two_hundred() -> None:
    assert held_back_scenes() == held_back_scenes()
    assert len(set(held_back_scenes())) == 200


def test_training_never_sees_a_held_back_scene() -> None:
    assert not set(training_scenes()) & set(held_back_scenes())
    assert len(training_scenes()) + 200 == len(all_scenes())


def test_the_held_back_scenes_hold_every_word() -> None:
    for attribute, words in (("shape", SHAPES), ("colour", COLOURS), ("background", COLOURS), ("size", SIZES)):
        assert {getattr(scene, attribute) for scene in held_back_scenes()} == set(words)


def test_a_prompt_reads_as_a_person_would_write_it() -> None:
    assert SCENE.prompt == "a large red circle at the top left on a blue background"
    assert prompt_for("star", "orange", "orange") == "an orange star on an orange background"


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        (0, "a red circle at the centre on a blue background"),
        (1, "a blue background with a red circle at the centre"),
        (2, "red circle, centre, blue background"),
    ],
)
def test_each_template_says_the_same_in_another_order(template: int, prompt: str) -> None:
    assert prompt_for("circle", "red", "blue", place="centre", template=template) == prompt


@pytest.mark.parametrize(("width", "height"), BUCKETS)
def test_a_drawing_has_the_bucket_s_size_and_both_colours_where_they_belong(width: int, height: int) -> None:
    picture = SCENE.draw(width, height)
    assert picture.size == (width, height)
    assert picture.getpixel((int(0.29 * width), int(0.29 * height))) == PALETTE["red"]
    assert picture.getpixel((width - 1, height - 1)) == PALETTE["blue"]


def test_edges_are_antialiased() -> None:
    levels = np.unique(np.asarray(draw_mask("circle", 32, 32, 16, 64, 64)))
    assert len(levels) > 8


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("width", "height"), BUCKETS)
def test_large_shapes_stay_inside_the_picture_at_every_place(shape: str, width: int, height: int) -> None:
    for place in PLACES:
        rows, columns = np.nonzero(np.asarray(Scene(shape, "red", "blue", "large", place).mask(width, height)))
        assert rows.max() - rows.min() > 0.35 * (width * height) ** 0.5
        assert rows.max() < height - 1 or columns.max() < width - 1


def test_without_jitter_a_scene_is_always_drawn_alike_and_with_jitter_it_is_not() -> None:
    plain = [SCENE.draw(128, 128).tobytes() for _ in range(2)]
    moved = [SCENE.draw(128, 128, random.Random(seed)).tobytes() for seed in (1, 2, 1)]
    assert plain[0] == plain[1]
    assert moved[0] != moved[1]
    assert moved[0] == moved[2]


@pytest.mark.parametrize(("width", "height"), BUCKETS)
def test_training_s_masks_lie_on_the_grid_of_latents_inside_the_picture_and_are_judged_right(
    width: int, height: int
) -> None:
    draw = random.Random(0)
    for scene in [scene for scene in all_scenes() if scene.shape == "square" and scene.colour == "red"]:
        mask = np.asarray(scene.grid_mask(width, height, draw), dtype=np.float64)
        rows, columns = mask.sum(1) @ np.arange(height), mask.sum(0) @ np.arange(width)
        middle = np.array([columns, rows]) / mask.sum() + 0.5
        assert middle == pytest.approx(8 * np.round(middle / 8), abs=0.2)
        assert judge(scene.paint(scene.grid_mask(width, height, draw))).agrees(scene)


def test_training_moves_an_object_between_the_grid_points_next_to_its_place() -> None:
    draw = random.Random(0)
    small = Scene("circle", "red", "blue", "small", "top left")
    assert len({small.grid_mask(128, 128, draw).tobytes() for _ in range(40)}) == 4


def test_an_unknown_shape_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"hexagon.*circle, square"):
        draw_mask("hexagon", 8, 8, 4, 16, 16)
