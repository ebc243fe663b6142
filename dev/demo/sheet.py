"""A contact sheet: pictures with captions, in rows of equal size."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from dev.demo.pictures import Picture

CELL = 200
PICTURE = 176
CAPTION = 66
COLUMNS = 4
BACKGROUND, INK, FAINT = "#ffffff", "#222222", "#777777"


def contact_sheet(pictures: Sequence[Picture], path: Path) -> None:
    """Draw the pictures with prompt and facts below each, and write a PNG."""
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * CELL, rows * (CELL + CAPTION)), BACKGROUND)
    for index, picture in enumerate(pictures):
        left, top = index % COLUMNS * CELL, index // COLUMNS * (CELL + CAPTION)
        _draw_cell(sheet, picture, left, top)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def _draw_cell(sheet: Image.Image, picture: Picture, left: int, top: int) -> None:
    scale = PICTURE / max(picture.image.size)
    size = (round(picture.image.width * scale), round(picture.image.height * scale))
    image = picture.image.resize(size, Image.Resampling.LANCZOS)
    sheet.paste(image, (left + (CELL - size[0]) // 2, top + (CELL - size[1]) // 2))
    draw, text, small = ImageDraw.Draw(sheet), ImageFont.load_default(12), ImageFont.load_default(10)
    frame = (left + (CELL - size[0]) // 2 - 1, top + (CELL - size[1]) // 2 - 1)
    draw.rectangle((*frame, frame[0] + size[0] + 1, frame[1] + size[1] + 1), outline="#dddddd")
    lines = textwrap.wrap(picture.request.prompt, 32)
    draw.multiline_text((left + 12, top + CELL), "\n".join(lines), fill=INK, font=text, spacing=3)
    draw.text((left + 12, top + CELL + 16 * len(lines) + 2), picture.caption, fill=FAINT, font=small)
