"""The little world the demo model knows: one coloured shape on a coloured background.

Words and drawings come from here, for training, for judging and for the examples. No torch.
"""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw

RGB = tuple[int, int, int]

PALETTE: dict[str, RGB] = {
    "red": (225, 20, 30),
    "orange": (255, 140, 0),
    "yellow": (255, 235, 20),
    "green": (0, 155, 60),
    "blue": (20, 60, 225),
    "purple": (150, 30, 190),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}
"""Names and sRGB values (0-255) of the colours, for objects and for backgrounds."""

COLOURS = tuple(PALETTE)
SHAPES = ("circle", "square", "triangle", "star")

SIZES: dict[str, float] = {"small": 0.16, "large": 0.22}
"""Half the object's width, as a part of the square root of the picture's area."""

PLACES: dict[str, tuple[float, float]] = {
    "centre": (0.5, 0.5),
    "top left": (0.29, 0.29),
    "top right": (0.71, 0.29),
    "bottom left": (0.29, 0.71),
    "bottom right": (0.71, 0.71),
}
"""Where the object's middle lies, as parts of the picture's width and height."""

BUCKETS: tuple[tuple[int, int], ...] = ((128, 128), (160, 96), (96, 160))
"""Width and height in pixels of the pictures the model is trained on."""

HELD_BACK = 200
TEMPLATES = 3
_OVERSAMPLING = 4


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def prompt_for(
    shape: str,
    colour: str,
    background: str,
    size: str | None = None,
    place: str | None = None,
    template: int = 0,
) -> str:
    """Say a scene in words; what is None is left out, `template` (0 to 2) chooses the order of the words."""
    thing = " ".join(word for word in (size, colour, shape) if word)
    at_place = f" at the {place}" if place else ""
    if template == 0:
        return f"{_with_article(thing)}{at_place} on {_with_article(background)} background"
    if template == 1:
        return f"{_with_article(background)} background with {_with_article(thing)}{at_place}"
    return f"{thing}{', ' + place if place else ''}, {background} background"


@dataclass(frozen=True)
class Scene:
    """One object on a background, each attribute a word of the tables above."""

    shape: str
    colour: str
    background: str
    size: str
    place: str

    @property
    def prompt(self) -> str:
        """The full sentence, such as "a large red circle at the top left on a blue background"."""
        return prompt_for(self.shape, self.colour, self.background, self.size, self.place)

    def draw(self, width: int, height: int, jitter: random.Random | None = None) -> Image.Image:
        """Draw the scene in RGB, `width` by `height` pixels, its edges antialiased.

        With `jitter` the place moves by up to 2.5 % of the side and the size by up to 6 %.
        """
        return self.paint(self.mask(width, height, jitter))

    def paint(self, mask: Image.Image) -> Image.Image:
        """Colour a mask (mode L): the object's colour where it is 255, the background's where it is 0."""
        picture = Image.new("RGB", mask.size, PALETTE[self.background])
        picture.paste(PALETTE[self.colour], mask=mask)
        return picture

    def mask(self, width: int, height: int, jitter: random.Random | None = None) -> Image.Image:
        """How much of each pixel the object covers: mode L, 0 to 255, `width` by `height`."""
        x, y = PLACES[self.place]
        radius = SIZES[self.size] * math.sqrt(width * height)
        if jitter is not None:
            x, y = x + jitter.uniform(-0.025, 0.025), y + jitter.uniform(-0.025, 0.025)
            radius *= jitter.uniform(0.94, 1.06)
        return draw_mask(self.shape, x * width, y * height, radius, width, height)

    def grid_mask(self, width: int, height: int, draw: random.Random) -> Image.Image:
        """A mask whose middle lies on one of the corners of 8 by 8 pixel blocks next to the place, drawn by lot.

        A VAE of factor 8 gives such objects the same latents wherever they are, so a shape has to be learned once.
        """
        radius = SIZES[self.size] * math.sqrt(width * height)
        x, y = PLACES[self.place]
        return _cached_mask(
            self.shape,
            _on_grid(x * width, radius, width, draw),
            _on_grid(y * height, radius, height, draw),
            radius,
            width,
            height,
        )


def _on_grid(middle: float, radius: float, side: int, draw: random.Random) -> int:
    """One of the multiples of 8 around `middle`, such that the object does not stick out, all in pixels."""
    around = {math.floor(middle / 8) * 8, math.ceil(middle / 8) * 8}
    inside = [point for point in sorted(around) if radius <= point <= side - radius]
    return draw.choice(inside)


@cache
def _cached_mask(shape: str, x: int, y: int, radius: float, width: int, height: int) -> Image.Image:
    return draw_mask(shape, x, y, radius, width, height)


def draw_mask(shape: str, x: float, y: float, radius: float, width: int, height: int) -> Image.Image:
    """Draw `shape` around (x, y), `radius` being half its width, all in pixels: mode L, 0 to 255."""
    k = _OVERSAMPLING
    canvas = Image.new("L", (width * k, height * k), 0)
    points = [((x + px * radius) * k, (y + py * radius) * k) for px, py in _outline(shape)]
    ImageDraw.Draw(canvas).polygon(points, fill=255)
    return canvas.resize((width, height), Image.Resampling.BOX)


def _outline(shape: str) -> list[tuple[float, float]]:
    """Corners of a shape that is two units wide, with (0, 0) in its middle and y downwards."""
    if shape == "square":
        return [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    if shape == "triangle":
        return [(0, -1), (1, 1), (-1, 1)]
    if shape == "circle":
        return [_on_circle(i / 72) for i in range(72)]
    if shape == "star":
        # Plumper than a pentagram, whose points are thinner than the eight pixels of a latent.
        return [_on_circle(i / 10, 1.08 if i % 2 == 0 else 0.56, down=0.06) for i in range(10)]
    raise ValueError(f"unknown shape {shape!r}; known: {', '.join(SHAPES)}")


def _on_circle(turn: float, radius: float = 1.0, down: float = 0.0) -> tuple[float, float]:
    angle = 2 * math.pi * turn
    return radius * math.sin(angle), down - radius * math.cos(angle)


def all_scenes() -> list[Scene]:
    """Every scene whose object differs in colour from its background: 2,240, in a fixed order."""
    every = itertools.product(SHAPES, COLOURS, COLOURS, SIZES, PLACES)
    return [Scene(*words) for words in every if words[1] != words[2]]


def held_back_scenes() -> list[Scene]:
    """The 200 scenes that training never sees, neither as a picture nor as a full prompt; always the same."""
    return random.Random(20_251_123).sample(all_scenes(), HELD_BACK)


def training_scenes() -> list[Scene]:
    """All scenes but those held back."""
    held_back = set(held_back_scenes())
    return [scene for scene in all_scenes() if scene not in held_back]
