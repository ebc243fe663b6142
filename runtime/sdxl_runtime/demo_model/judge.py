"""Says what is on a picture by looking at its pixels, and nothing else.

The model is measured by this judge, so it knows neither the prompt nor the model: it names the background by the
picture's rim, takes as object what differs from it, and compares the object's outline with the four drawn shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from sdxl_runtime.demo_model.scenes import COLOURS, PALETTE, PLACES, SHAPES, SIZES, Scene, draw_mask

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

ATTRIBUTES = ("shape", "colour", "background", "size", "place")
_GRID = 48
_LEAST_CONTRAST = 60.0
_LEAST_OVERLAP = 0.75
_LEAST_CLEAN = 0.85


@dataclass(frozen=True)
class Verdict:
    """What the judge sees, in the words of `Scene`; None where it cannot tell."""

    shape: str | None = None
    colour: str | None = None
    background: str | None = None
    size: str | None = None
    place: str | None = None

    def right(self, scene: Scene) -> dict[str, bool]:
        """For each attribute, whether the picture shows what the scene says."""
        return {name: getattr(self, name) == getattr(scene, name) for name in ATTRIBUTES}

    def agrees(self, scene: Scene) -> bool:
        """Whether every attribute is right."""
        return all(self.right(scene).values())


def judge(picture: Image.Image, hollow: bool = False) -> Verdict:
    """Name the one object of an RGB picture (any size) and its background.

    With `hollow` the object may have holes that the background shows through: its outline counts.
    """
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
    ground = _rim_colour(pixels)
    background: str | None = nearest_colour(ground)
    inner = _object_colour(pixels, ground)
    mask = None if inner is None else _between(pixels, ground, inner)
    if inner is None or mask is None:
        return Verdict(background=background)
    if not _is_clean(pixels, mask, ground):
        background = None
    if hollow:
        mask = filled(mask)
    left, top, right, bottom = _box(mask)
    shape = _shape(mask)
    return Verdict(
        shape=shape,
        colour=nearest_colour(inner),
        background=background,
        size=_size(mask, shape),
        place=_place((left + right) / 2, (top + bottom) / 2, *mask.shape),
    )


def object_mask(picture: Image.Image) -> Mask | None:
    """Which pixels of an RGB picture belong to the object, as `judge` sees it; None where there is none."""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
    ground = _rim_colour(pixels)
    inner = _object_colour(pixels, ground)
    return None if inner is None else _between(pixels, ground, inner)


def filled(mask: Mask) -> Mask:
    """The mask and its holes: whatever cannot be reached from the picture's rim."""
    outside = Image.fromarray(np.pad(mask, 1).astype(np.uint8)).copy()  # a picture that may be written to
    ImageDraw.floodfill(outside, (0, 0), 2)
    whole: Mask = np.asarray(outside)[1:-1, 1:-1] != 2
    return whole


def edge_width(picture: Image.Image) -> float | None:
    """How wide the object's outline is, in pixels: soft pixels for each pixel along it. None without an object.

    A drawing has about 1; soft is what lies between a tenth and nine tenths of the way from one colour to the other.
    """
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
    ground = _rim_colour(pixels)
    inner = _object_colour(pixels, ground)
    if inner is None:
        return None
    along = _along(pixels, ground, inner)
    inside = along > 0.5
    length = np.count_nonzero(np.diff(inside, axis=0)) + np.count_nonzero(np.diff(inside, axis=1))
    # A slanted line crosses more pixel borders than it is long: 4 / pi times as many, over all directions.
    return float(np.count_nonzero((along > 0.1) & (along < 0.9)) / max(1.0, length * np.pi / 4))


def _along(pixels: Floats, ground: Floats, inner: Floats) -> Floats:
    """Where each pixel lies on the way from the background's colour (0) to the object's (1)."""
    length = np.float32(np.linalg.norm(inner - ground))
    along: Floats = ((pixels - ground) @ (inner - ground) / length**2).astype(np.float32)
    return along


def _object_colour(pixels: Floats, ground: Floats) -> Floats | None:
    """The median of what differs most from the background; None where nothing differs enough."""
    distance = np.linalg.norm(pixels - ground, axis=-1)
    inner: Floats = np.median(pixels[distance >= 0.8 * np.percentile(distance, 99.5)], axis=0)
    return inner if float(np.linalg.norm(inner - ground)) >= _LEAST_CONTRAST else None


def _between(pixels: Floats, ground: Floats, inner: Floats) -> Mask | None:
    """What lies on the object's side half-way between the two colours, however soft the edge; None where nothing."""
    mask = _without_specks(_along(pixels, ground, inner) > 0.5)
    return mask if mask.any() else None


def nearest_colour(rgb: Floats) -> str:
    """The palette's name for an sRGB value (three numbers, 0 to 255) by Euclidean distance."""
    return COLOURS[int(_colour_indices(rgb[None])[0])]


def _colour_indices(pixels: Floats) -> npt.NDArray[np.intp]:
    palette = np.array(list(PALETTE.values()), dtype=np.float32)
    nearest: npt.NDArray[np.intp] = np.linalg.norm(pixels[..., None, :] - palette, axis=-1).argmin(axis=-1)
    return nearest


def _rim_colour(pixels: Floats) -> Floats:
    """The median colour of the most frequent palette colour along the picture's rim (two pixels wide)."""
    inside = np.zeros(pixels.shape[:2], dtype=bool)
    inside[2:-2, 2:-2] = True
    rim = pixels[~inside]
    names = _colour_indices(rim)
    median: Floats = np.median(rim[names == np.bincount(names).argmax()], axis=0)
    return median


def _without_specks(mask: Mask) -> Mask:
    """Keep a pixel where most of its 3 by 3 neighbours are set too: noise goes, shapes stay."""
    padded = np.pad(mask.astype(np.int32), 1, mode="edge")
    height, width = mask.shape
    neighbours = sum(padded[y : y + height, x : x + width] for y in range(3) for x in range(3))
    kept: Mask = np.asarray(neighbours) >= 5
    return kept


def _box(mask: Mask) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is set, the last two exclusive."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _is_clean(pixels: Floats, mask: Mask, ground: Floats) -> bool:
    """Whether nearly all of what is not the object has the background's colour name; soft edges may differ."""
    same = _colour_indices(pixels[~mask]) == _colour_indices(ground[None])
    return bool(same.mean() >= _LEAST_CLEAN)


@cache
def _templates() -> Floats:
    """The four shapes as `_normalised` sees them, values 0 to 1, shape (4, grid, grid)."""
    return np.stack([_normalised(np.asarray(draw_mask(shape, 64, 64, 50, 128, 128)) > 127) for shape in SHAPES])


def _normalised(mask: Mask) -> Floats:
    """The mask around its centre of gravity, scaled to a fixed area: soft corners hardly change either."""
    rows, columns = np.nonzero(mask)
    half = float(np.sqrt(len(rows)))
    x, y = columns.mean() + 0.5, rows.mean() + 0.5
    picture = Image.fromarray(mask.astype(np.uint8) * 255).transform(
        (_GRID, _GRID),
        Image.Transform.EXTENT,
        (x - half, y - half, x + half, y + half),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(picture, dtype=np.float32) / np.float32(255)


def _shape(mask: Mask) -> str | None:
    """The drawn shape that overlaps best, if intersection over union is good enough."""
    seen = _normalised(mask)
    overlap = np.minimum(seen, _templates()).sum((1, 2)) / np.maximum(seen, _templates()).sum((1, 2))
    best = int(overlap.argmax())
    return SHAPES[best] if overlap[best] >= _LEAST_OVERLAP else None


@cache
def _unit_area(shape: str) -> float:
    """The area of a shape whose half width is 1."""
    return float((np.asarray(draw_mask(shape, 64, 64, 50, 128, 128), dtype=np.float32) / 255).sum() / 50**2)


def _size(mask: Mask, shape: str | None) -> str | None:
    """Small or large by the radius that gives such a shape its area; None far outside both, or without a shape."""
    if shape is None:
        return None
    radius = float(np.sqrt(mask.sum() / _unit_area(shape) / mask.size))
    small, large = SIZES["small"], SIZES["large"]
    if not 0.7 * small < radius < 1.3 * large:
        return None
    return "small" if radius < float(np.sqrt(small * large)) else "large"


def _place(x: float, y: float, rows: int, columns: int) -> str | None:
    """The nearest of the five places, if the middle of the box is within a tenth of the sides of it."""
    nearest = min(PLACES, key=lambda name: max(abs(x / columns - PLACES[name][0]), abs(y / rows - PLACES[name][1])))
    at_x, at_y = PLACES[nearest]
    return nearest if max(abs(x / columns - at_x), abs(y / rows - at_y)) < 0.1 else None
