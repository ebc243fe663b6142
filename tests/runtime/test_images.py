"""Pictures as files, read back."""

from io import BytesIO

import pytest
from PIL import Image

from sdxl_runtime import images


@pytest.fixture
def picture() -> Image.Image:
    image = Image.new("RGB", (64, 48), (10, 120, 200))
    image.paste((250, 30, 30), (16, 12, 48, 36))
    return image


@pytest.mark.parametrize("output_format", list(images.MEDIA_TYPES))
def test_a_file_has_the_format_and_the_size(picture: Image.Image, output_format: str) -> None:
    with Image.open(BytesIO(images.encode(picture, output_format))) as read:
        assert (read.format, read.size, read.mode) == (output_format.upper(), (64, 48), "RGB")


def test_png_is_exact(picture: Image.Image) -> None:
    with Image.open(BytesIO(images.encode(picture, "png", 10))) as read:
        assert read.tobytes() == picture.tobytes()


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
def test_less_quality_makes_a_smaller_file_that_still_shows_the_colours(
    picture: Image.Image, output_format: str
) -> None:
    fine, coarse = (images.encode(picture, output_format, quality) for quality in (100, 5))
    assert len(coarse) < len(fine)
    with Image.open(BytesIO(fine)) as read:
        assert max(abs(a - b) for a, b in zip(read.getpixel((32, 24)), (250, 30, 30), strict=True)) <= 8


def test_an_unknown_format_is_an_error(picture: Image.Image) -> None:
    with pytest.raises(KeyError):
        images.encode(picture, "gif")
