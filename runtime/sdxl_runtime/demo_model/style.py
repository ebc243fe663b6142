"""The style of the LoRA `pixel`: the object as a hollow sprite of coarse pixels; drawn here, and measured. No torch.

A coarse pixel is 8 pixels wide, which is one latent. What makes the style plain to see is that only the sprite's rim is
left: the background shows through the middle.
"""

from __future__ import annotations

import math
import random
from functools import cache

import numpy as np
from PIL import Image

from sdxl_runtime.demo_model.judge import Mask, filled, object_mask
from sdxl_runtime.demo_model.scenes import PLACES, SIZES, Scene

CELL = 8
"""The side of a coarse pixel in pixels."""

_LEAST_HOLE = 0.04


_DRAWN = {
    "circle": (".###. #...# #...# #...# .###.", "..###.. .#...#. #.....# #.....# #.....# .#...#. ..###.."),
    "square": ("##### #...# #...# #...# #####", "####### #.....# #.....# #.....# #.....# #.....# #######"),
    "triangle": ("..#.. .#.#. .#.#. #...# #####", "...#... ..#.#.. ..#.#.. .#...#. .#...#. #.....# #######"),
    "star": ("..#.. ##.## .#.#. .###. .....", "...#... ..#.#.. ###.### .#...#. .#...#. .#.#.#. .##.##."),
}


@cache
def sprite(shape: str, cells: int) -> Mask:
    """Which coarse pixels of a shape are set, `cells` by `cells`: there is one of 5 and one of 7."""
    rows = next(drawn for drawn in _DRAWN[shape] if drawn.count(" ") == cells - 1).split()
    return np.array([[letter == "#" for letter in row] for row in rows])


def pixel_mask(scene: Scene, width: int, height: int, draw: random.Random) -> Image.Image:
    """Where a picture in the style has the object's colour: mode L, 0 or 255, `width` by `height` pixels.

    The sprite lies on the grid of coarse pixels next to the scene's place, one of up to four positions by lot.
    """
    cells = 2 * int(SIZES[scene.size] * math.sqrt(width * height) / CELL) + 1
    x, y = PLACES[scene.place]
    left = _first_cell(x * width / CELL, cells, width // CELL, draw)
    top = _first_cell(y * height / CELL, cells, height // CELL, draw)
    canvas = np.zeros((height // CELL, width // CELL), dtype=np.uint8)
    canvas[top : top + cells, left : left + cells] = sprite(scene.shape, cells)
    return Image.fromarray(canvas * 255).resize((width, height), Image.Resampling.NEAREST)


def _first_cell(middle: float, cells: int, limit: int, draw: random.Random) -> int:
    """Where `cells` coarse pixels around `middle` may begin, such that they stay inside `limit`."""
    around = {math.floor(middle - cells / 2), math.ceil(middle - cells / 2)}
    return draw.choice([first for first in sorted(around) if 0 <= first <= limit - cells])


def hole_share(picture: Image.Image) -> float:
    """How much of the object's outline the background shows through, 0 to 1; 0 where there is no object."""
    mask = object_mask(picture)
    if mask is None:
        return 0.0
    whole = filled(mask)
    return float((whole & ~mask).sum() / whole.sum())


def in_style(picture: Image.Image) -> bool:
    """Whether the object is hollow."""
    return hole_share(picture) >= _LEAST_HOLE
