"""Pictures that clients send: decoded within bounds, upright, RGB, of the bucket's size. Nothing is ever fetched."""

import base64
import binascii
import re
import warnings
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, ImageOps, UnidentifiedImageError

from sdxl_runtime.admission import RequestError, shorten

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

LARGEST_FILE = 32 * 1024 * 1024
"""Bytes of one picture."""
LARGEST_SIDE = 8192
LARGEST_PIXELS = 33_554_432
"""32 Mi pixels: 96 MiB once decoded."""
FORMATS = ("PNG", "JPEG", "WEBP")

_DATA_URL = re.compile(r"data:image/(png|jpe?g|webp);base64,", re.IGNORECASE)


def from_data_url(text: str, field: str) -> bytes:
    """The bytes of a data URL.

    Raises:
        RequestError: it is another kind of URL, or its base64 is broken.
    """
    match = _DATA_URL.match(text)
    if match is None:
        raise RequestError(
            f"{field} is {shorten(text)}; it must be a data URL like data:image/png;base64,… (nothing is fetched)",
            field,
        )
    try:
        return base64.b64decode(text[match.end() :], validate=True)
    except binascii.Error as error:
        raise RequestError(f"{field} is a data URL whose base64 is broken: {error}", field) from None


def read_image(content: bytes, field: str) -> Image.Image:
    """An upright RGB picture; transparency is laid on white, 16 bits and CMYK become 8-bit RGB.

    Raises:
        RequestError: it is empty, too large, animated, truncated, or no PNG, JPEG or WebP.
    """
    opened = _open(content, field)
    upright = ImageOps.exif_transpose(_loaded(opened, field))
    return _to_rgb(upright)


def read_mask(content: bytes, size: tuple[int, int]) -> Image.Image:
    """What is painted anew: mode L, 255 where the PNG is fully transparent, else 0; `size` is the image's, upright.

    Raises:
        RequestError: it cannot be read, has no transparency, or is of another size.
    """
    opened = _open(content, "mask")
    if opened.format != "PNG":
        raise RequestError(f"mask is a {opened.format} file; it must be a PNG with transparency", "mask")
    if opened.size != size:
        raise RequestError(
            f"mask is {opened.width}x{opened.height} and image {size[0]}x{size[1]}; they must be of one size", "mask"
        )
    loaded = _loaded(opened, "mask")
    if not loaded.has_transparency_data:
        raise RequestError("mask has no transparency; what is transparent in it is painted anew", "mask")
    alpha = loaded.convert("RGBA").getchannel("A")
    mask = alpha.point(lambda value: 255 if value == 0 else 0)
    if mask.getbbox() is None:
        raise RequestError("mask has no fully transparent pixel, so nothing would be painted", "mask")
    return mask


def fit(image: Image.Image, width: int, height: int) -> Image.Image:
    """Scaled to cover width × height, the middle cut out; masks keep hard edges."""
    method = Image.Resampling.NEAREST if image.mode == "L" else Image.Resampling.LANCZOS
    return image if image.size == (width, height) else ImageOps.fit(image, (width, height), method)


def _open(content: bytes, field: str) -> "ImageFile":
    if not content:
        raise RequestError(f"{field} is empty; it must be a PNG, JPEG or WebP file", field)
    if len(content) > LARGEST_FILE:
        raise RequestError(f"{field} has {len(content)} bytes; at most {LARGEST_FILE} are taken", field, status=413)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is below
            opened = Image.open(BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError:
        raise RequestError(_too_large(field), field) from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise RequestError(f"{field} is no PNG, JPEG or WebP picture that can be read: {error}"[:300], field) from None
    if max(opened.size) > LARGEST_SIDE or opened.width * opened.height > LARGEST_PIXELS:
        raise RequestError(f"{field} is {opened.width}x{opened.height}; {_too_large(field)}", field)
    if getattr(opened, "n_frames", 1) > 1:
        raise RequestError(f"{field} is animated; it must be one still picture", field)
    return opened


def _too_large(field: str) -> str:
    return f"{field} may have at most {LARGEST_SIDE} pixels a side and {LARGEST_PIXELS} in all"


def _loaded(opened: "ImageFile", field: str) -> Image.Image:
    try:
        opened.load()
    except (OSError, ValueError, SyntaxError, IndexError, Image.DecompressionBombError) as error:
        raise RequestError(f"{field} cannot be decoded, it may be truncated: {error}"[:300], field) from None
    return opened


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a channel; Pillow's own conversion would clip instead of scale
        image = image.point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        ground = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(ground, layered).convert("RGB")
    return image.convert("RGB")
