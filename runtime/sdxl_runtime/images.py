"""Pictures as files: PNG, JPEG, WebP."""

from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


def encode(image: "Image", output_format: str, quality: int = 100) -> bytes:
    """A picture as a file; `quality` from 0 to 100 counts for JPEG and WebP, PNG is always exact.

    Raises:
        KeyError: the format is not one of `MEDIA_TYPES`.
    """
    options: dict[str, Any] = {"png": {"compress_level": 4}, "jpeg": {"subsampling": 0}, "webp": {}}[output_format]
    if output_format != "png":
        options["quality"] = quality
    buffer = BytesIO()
    image.save(buffer, output_format.upper(), **options)
    return buffer.getvalue()
