"""The LoRA's style as it is drawn, and the measures that tell it from the base model's: right about drawings."""

import random

import numpy as np
import pytest
from PIL import Image, ImageFilter

from sdxl_runtime.demo_model.judge import edge_width, filled, judge
from sdxl_runtime.demo_model.scenes import BUCKETS, PALETTE, SHAPES, Scene, all_scenes
from sdxl_runtime.demo_model.style import CELL, hole_share, in_style, pixel_mask, sprite

SCENE = Scene("circle", "red", "blue", "large", "centre")


@pytest.mark.parametrize(("width", "height"), BUCKETS)
def test_drawings_in_the_style_are_told_from_plain_ones_and_still_show_what_they_should(
    width: int, height: int
) -> None:
    draw = random.Random(3)
    scenes = draw.sample(all_scenes(), 60)
    styled = [scene.paint(pixel_mask(scene, width, height, draw)) for scene in scenes]
    assert all(in_style(picture) for picture in styled)
    assert not any(in_style(scene.draw(width, height)) for scene in scenes)
    right = [judge(picture, hollow=True).agrees(scene) for scene, picture in zip(scenes, styled, strict=True)]
    assert sum(right) / len(right) >= 0.95


def test_a_hollow_picture_is_another_shape_to_who_does_not_look_for_outlines() -> None:
    picture = SCENE.paint(pixel_mask(SCENE, 128, 128, random.Random(0)))
    assert not judge(picture).agrees(SCENE)
    assert judge(picture, hollow=True).agrees(SCENE)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cells", [5, 7])
def test_every_sprite_is_hollow_and_closed(shape: str, cells: int) -> None:
    drawn = sprite(shape, cells)
    assert drawn.shape == (cells, cells)
    assert filled(drawn).sum() > drawn.sum()


def test_a_mask_is_made_of_whole_coarse_pixels() -> None:
    mask = np.asarray(pixel_mask(SCENE, 160, 96, random.Random(0)))
    blocks = mask.reshape(96 // CELL, CELL, 160 // CELL, CELL)
    assert (blocks.min((1, 3)) == blocks.max((1, 3))).all()
    assert set(np.unique(mask)) == {0, 255}


def test_the_share_of_the_hole_is_that_of_its_area_and_nothing_without_an_object() -> None:
    picture = Image.new("RGB", (128, 128), PALETTE["white"])
    picture.paste(PALETTE["red"], (32, 32, 96, 96))
    picture.paste(PALETTE["white"], (48, 48, 80, 80))
    assert hole_share(picture) == pytest.approx(0.25, abs=0.01)
    assert hole_share(Image.new("RGB", (128, 128), PALETTE["white"])) == 0


@pytest.mark.parametrize("scene", [SCENE, Scene("star", "yellow", "purple", "small", "top left")])
def test_the_edge_is_wider_the_more_a_picture_is_blurred(scene: Scene) -> None:
    picture = scene.draw(128, 128)
    widths = [edge_width(picture.filter(ImageFilter.GaussianBlur(blur))) or 0 for blur in (0, 1, 2)]
    assert widths[0] < 1.3
    assert widths == sorted(widths)
    assert widths[2] > 2 * widths[0]


def test_a_picture_without_an_object_has_no_edge() -> None:
    assert edge_width(Image.new("RGB", (128, 128), PALETTE["red"])) is None
