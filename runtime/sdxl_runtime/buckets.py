"""The declared table of shapes: which bucket serves a size, and which sizes are near. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PROMPT_TOKENS = (77, 154, 231)
"""Lengths of the text the UNet attends to: one, two or three windows of CLIP's 77 tokens."""
WINDOW = 77
"""Tokens of one window, its start and its end included."""


@dataclass(frozen=True, slots=True, order=True)
class Bucket:
    """One shape that is compiled, warmed up and served: width and height in pixels, batch in images, text in tokens."""

    width: int
    height: int
    batch: int = 1
    prompt_tokens: int = WINDOW

    def __post_init__(self) -> None:
        for name in ("width", "height", "batch", "prompt_tokens"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}; it must be a whole number from 1")
        if self.prompt_tokens not in PROMPT_TOKENS:
            raise ValueError(f"promptTokens is {self.prompt_tokens}; it must be one of {PROMPT_TOKENS}")

    @property
    def key(self) -> str:
        """The bucket's name in paths, status and metrics, e.g. `1024x1024b4`, or `1024x1024b4t154` for longer text."""
        text = "" if self.prompt_tokens == WINDOW else f"t{self.prompt_tokens}"
        return f"{self.width}x{self.height}b{self.batch}{text}"

    @property
    def size(self) -> str:
        """The picture's size as the OpenAI API writes it, e.g. `1024x1024`."""
        return f"{self.width}x{self.height}"

    @property
    def token_limit(self) -> int:
        """Tokens of a prompt with its start and its end; each further window has a start and an end of its own."""
        return self.prompt_tokens // WINDOW * (WINDOW - 2) + 2

    @classmethod
    def from_json(cls, item: Mapping[str, int]) -> "Bucket":
        """Read `{"width":…,"height":…,"batch":…,"promptTokens":…}`; the last two may be absent.

        Raises:
            ValueError: an unknown or missing member, or a value that is not a whole number from 1.
        """
        unknown = set(item) - {"width", "height", "batch", "promptTokens"}
        missing = {"width", "height"} - set(item)
        if unknown or missing:
            raise ValueError(
                "a bucket has width, height, batch and promptTokens; "
                f"unknown: {sorted(unknown)}, missing: {sorted(missing)}"
            )
        return cls(item["width"], item["height"], item.get("batch", 1), item.get("promptTokens", WINDOW))

    def to_json(self) -> dict[str, int]:
        """The inverse of `from_json`."""
        tokens = {} if self.prompt_tokens == WINDOW else {"promptTokens": self.prompt_tokens}
        return {"width": self.width, "height": self.height, "batch": self.batch, **tokens}


def nearest_sizes(width: int, height: int, buckets: Iterable[Bucket], count: int = 3) -> list[str]:
    """The declared sizes closest to a wanted one, by aspect ratio first, then by area."""
    sizes = {(bucket.width, bucket.height) for bucket in buckets}

    def distance(size: tuple[int, int]) -> tuple[float, float]:
        ratio = (size[0] * height) / (size[1] * width)
        area = (size[0] * size[1]) / (width * height)
        return max(ratio, 1 / ratio), max(area, 1 / area)

    return [f"{w}x{h}" for w, h in sorted(sizes, key=distance)[:count]]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a bucket was measured to take, in seconds."""

    step: float
    """One UNet evaluation at the full batch."""
    image: float
    """Encoding the prompt and decoding one picture."""


def buckets_of_size(size: str, buckets: Iterable[Bucket]) -> list[Bucket]:
    """The declared buckets of a size such as `1024x768`; `auto` is the size of the first one."""
    declared = list(buckets)
    wanted = declared[0].size if size == "auto" and declared else size
    return [bucket for bucket in declared if bucket.size == wanted]


def parse_size(text: str) -> tuple[int, int] | None:
    """Width and height of `1024x768`; None where it is not a size."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    return (int(match[1]), int(match[2])) if match else None
