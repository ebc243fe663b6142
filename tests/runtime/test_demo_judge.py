"""The judge of the demo model: right about drawn pictures, spoiled ones too, and not to be fooled by wrong ones."""

import random
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFilter

from sdxl_runtime.demo_model.judge import ATTRIBUTES, Verdict, judge, nearest_colour
from sdxl_runtime.demo_model.scenes import BUCKETS, COLOURS, PALETTE, SHAPES, Scene, all_scenes

SCENE = Scene("star", "yellow", "purple", "large", "bottom right")
Spoil = Callable[[Image.Image], Image.Image]


def with_noise(picture: Image.Image) -> Image.Image:
    """The picture with noise of 20 grey levels' deviation."""
    noise = np.random.default_rng(0).normal(0, 20, (picture.height, picture.width, 3))
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))


def with_soft_edges(picture: Image.Image) -> Image.Image:
    """The picture blurred by a Gaussian of two pixels' deviation."""
    return picture.filter(ImageFilter.GaussianBlur(2))


def with_blur(picture: Image.Image) -> Image.Image:
    """The picture blurred by a Gaussian of one pixel's deviation."""
    return picture.filter(ImageFilter.GaussianBlur(1))


@pytest.mark.parametrize(
    "spoil",
    [lambda picture: picture, with_noise, with_soft_edges, lambda picture: with_noise(with_blur(picture))],
    ids=["plain", "noise of 20 levels", "blur of 2 pixels", "blur of 1 pixel and noise of 20 levels"],
)
def test_at_least_99_of_100_drawn_pictures_are_judged_right(spoil: Spoil) -> None:
    draw = random.Random(7)
    scenes = draw.sample(all_scenes(), 240)
    right = [judge(spoil(scene.draw(*BUCKETS[i % 3], draw))).agrees(scene) for i, scene in enumerate(scenes)]
    assert sum(right) / len(right) >= 0.99


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_a_picture_that_differs_in_one_attribute_is_wrong_in_that_attribute_alone(attribute: str) -> None:
    other = {"shape": "circle", "colour": "green", "background": "red", "size": "small", "place": "centre"}[attribute]
    verdict = judge(Scene(**{**vars(SCENE), attribute: other}).draw(128, 128))
    assert not verdict.agrees(SCENE)
    assert [name for name, right in verdict.right(SCENE).items() if not right] == [attribute]


@pytest.mark.parametrize("colour", COLOURS)
def test_a_picture_without_an_object_has_a_background_and_nothing_else(colour: str) -> None:
    assert judge(Image.new("RGB", (128, 128), PALETTE[colour])) == Verdict(background=colour)


def test_pure_noise_shows_no_shape() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    assert judge(Image.fromarray(noise)).shape is None


def test_a_background_of_two_colours_is_not_accepted() -> None:
    picture = SCENE.draw(128, 128)
    picture.paste(PALETTE["green"], (0, 0, 128, 44))
    assert not judge(picture).agrees(SCENE)


def test_a_second_object_makes_the_picture_wrong() -> None:
    picture = SCENE.draw(128, 128)
    picture.paste(PALETTE["yellow"], mask=Scene("star", "yellow", "purple", "small", "top left").mask(128, 128))
    assert not judge(picture).agrees(SCENE)


def test_a_shapeless_blot_is_no_shape() -> None:
    picture = Image.new("RGB", (128, 128), PALETTE["white"])
    picture.paste(PALETTE["red"], (20, 60, 110, 70))
    assert judge(picture).shape is None


def test_an_object_between_two_places_is_at_neither() -> None:
    picture = Image.new("RGB", (128, 128), PALETTE["white"])
    picture.paste(PALETTE["red"], (44, 10, 84, 50))
    assert judge(picture).place is None


@pytest.mark.parametrize("name", COLOURS)
def test_colours_a_little_off_keep_their_name(name: str) -> None:
    off = np.clip(np.array(PALETTE[name], np.float32) + np.array([-15, 10, 15], np.float32), 0, 255)
    assert nearest_colour(off) == name


def test_the_judge_knows_every_shape_at_a_size_it_was_not_drawn_for() -> None:
    for shape in SHAPES:
        picture = Scene(shape, "white", "black", "large", "centre").draw(256, 192)
        assert judge(picture).shape == shape
