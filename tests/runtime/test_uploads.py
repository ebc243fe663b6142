"""Pictures that clients send: every kind Pillow can be tricked with ends in a picture or a sentence."""

import base64
import struct
import zlib
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from sdxl_runtime import uploads
from sdxl_runtime.admission import RequestError


def a_file(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def halves(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, "red")
    image.paste((0, 0, 255), (size[0] // 2, 0, *size))
    return image


def refused(content: bytes) -> RequestError:
    with pytest.raises(RequestError) as error:
        uploads.read_image(content, "image")
    assert error.value.param == "image"
    return error.value


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_read_as_rgb(kind: str) -> None:
    image = uploads.read_image(a_file(halves(), kind, quality=95), "image")
    assert (image.mode, image.size) == ("RGB", (64, 48))
    assert image.getpixel((10, 10))[0] > 200  # type: ignore[index]


def test_a_rotated_photograph_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    image = uploads.read_image(a_file(halves(), "JPEG", exif=exif), "image")
    assert image.size == (48, 64)
    assert image.getpixel((24, 5))[0] > 200  # type: ignore[index]


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    image = uploads.read_image(a_file(Image.new("I;16", (8, 8), 32768)), "image")
    assert image.getpixel((0, 0)) == (128, 128, 128)


def test_cmyk_becomes_rgb() -> None:
    image = uploads.read_image(a_file(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), "image")
    red, green, blue = image.getpixel((4, 4))  # type: ignore[misc]
    assert red > 200
    assert max(green, blue) < 60


def test_transparency_is_laid_on_white() -> None:
    for image in (Image.new("RGBA", (4, 4), (0, 0, 0, 0)), Image.new("LA", (4, 4), (0, 0))):
        assert uploads.read_image(a_file(image), "image").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_palettes_and_greys_become_rgb(mode: str) -> None:
    assert uploads.read_image(a_file(halves().convert(mode)), "image").mode == "RGB"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"GIF89a" + bytes(100), "no PNG, JPEG or WebP"),
        (b"not a picture", "no PNG, JPEG or WebP"),
        (a_file(halves(), "BMP"), "no PNG, JPEG or WebP"),
        (a_file(halves((400, 400)))[:-200], "truncated"),
        (a_file(halves((400, 400)), "JPEG")[:400], "runcated"),
        (a_file(halves())[:20], "PNG"),
    ],
    ids=["empty", "a GIF", "text", "a BMP", "a truncated PNG", "a truncated JPEG", "a header"],
)
def test_what_is_no_picture_is_told_why(content: bytes, words: str) -> None:
    assert words in refused(content).message


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    assert "animated" in refused(a_file(frames[0], kind, save_all=True, append_images=frames[1:])).message


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(20_000, 20_000), (9_000, 10), (8_000, 8_000)])
def test_a_picture_too_large_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    assert "at most 8192 pixels a side" in refused(bomb(*size)).message


def test_a_file_too_large_is_413(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "LARGEST_FILE", 10)
    assert refused(a_file(halves())).status == 413


def a_mask(size: tuple[int, int] = (64, 48)) -> Image.Image:
    mask = Image.new("RGBA", size, (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    return mask


def test_what_is_transparent_in_a_mask_is_painted() -> None:
    mask = uploads.read_mask(a_file(a_mask()), (64, 48))
    assert (mask.mode, mask.getpixel((5, 5)), mask.getpixel((60, 5))) == ("L", 255, 0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (a_file(a_mask((32, 32))), "32x32 and image 64x48"),
        (a_file(halves()), "no transparency"),
        (a_file(halves(), "JPEG"), "must be a PNG"),
        (a_file(Image.new("RGBA", (64, 48), (0, 0, 0, 255))), "nothing would be painted"),
        (b"", "is empty"),
    ],
)
def test_a_mask_that_says_nothing_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(RequestError, match=words) as error:
        uploads.read_mask(content, (64, 48))
    assert error.value.param == "mask"


def test_a_picture_is_cut_to_the_buckets_shape_without_distortion() -> None:
    fitted = uploads.fit(halves((128, 64)), 64, 64)
    assert fitted.size == (64, 64)
    assert fitted.getpixel((2, 30)) == (255, 0, 0)
    assert fitted.getpixel((61, 30)) == (0, 0, 255)


def test_a_data_url_is_read_and_nothing_is_fetched() -> None:
    content = a_file(halves())
    url = "data:image/png;base64," + base64.b64encode(content).decode()
    assert uploads.from_data_url(url, "image") == content
    for wrong in ("https://example.org/a.png", "file:///etc/passwd", "data:text/html;base64,AAAA", "aGVsbG8="):
        with pytest.raises(RequestError, match="nothing is fetched"):
            uploads.from_data_url(wrong, "image")
    with pytest.raises(RequestError, match="base64 is broken"):
        uploads.from_data_url("data:image/png;base64,???", "image")
