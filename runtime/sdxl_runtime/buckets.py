"""The declared table of shapes: which bucket serves a size, and which sizes are near. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True, order=True)
class Bucket:
    """One shape that is compiled, warmed up and served: width and height in pixels, batch in images."""

    width: int
    height: int
    batch: int = 1

    def __post_init__(self) -> None:
        for name in ("width", "height", "batch"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}; it must be a whole number from 1")

    @property
    def key(self) -> str:
        """The bucket's name in paths, status and metrics, e.g. `1024x1024b4`."""
        return f"{self.width}x{self.height}b{self.batch}"

    @property
    def size(self) -> str:
        """The picture's size as the OpenAI API writes it, e.g. `1024x1024`."""
        return f"{self.width}x{self.height}"

    @classmethod
    def from_json(cls, item: Mapping[str, int]) -> "Bucket":
        """Read `{"width":…,"height":…,"batch":…}`; batch may be absent.

        Raises:
            ValueError: an unknown or missing member, or a value that is not a whole number from 1.
        """
        unknown = set(item) - {"width", "height", "batch"}
        missing = {"width", "height"} - set(item)
        if unknown or missing:
            raise ValueError(
                f"a bucket has width, height and batch; unknown: {sorted(unknown)}, missing: {sorted(missing)}"
            )
        return cls(item["width"], item["height"], item.get("batch", 1))

    def to_json(self) -> dict[str, int]:
        """The inverse of `from_json`."""
        return {"width": self.width, "height": self.height, "batch": self.batch}


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

    def seconds(self, bucket: Bucket, n: int, steps: int) -> float:
        """Expected work for n pictures: as many turns as fill the batch, each of `steps` evaluations."""
        return ceil(n / bucket.batch) * steps * self.step + n * self.image


def buckets_of_size(size: str, buckets: Iterable[Bucket]) -> list[Bucket]:
    """The declared buckets of a size such as `1024x768`; `auto` is the size of the first one."""
    declared = list(buckets)
    wanted = declared[0].size if size == "auto" and declared else size
    return [bucket for bucket in declared if bucket.size == wanted]


def cheapest(n: int, steps: int, candidates: Iterable[Bucket], costs: Mapping[Bucket, Cost]) -> Bucket:
    """The bucket that finishes n pictures first by measured cost; of equal ones the smaller batch.

    Raises:
        ValueError: there is no candidate.
    """
    return min(candidates, key=lambda bucket: (costs[bucket].seconds(bucket, n, steps), bucket.batch))


def parse_size(text: str) -> tuple[int, int] | None:
    """Width and height of `1024x768`; None where it is not a size."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    return (int(match[1]), int(match[2])) if match else None
