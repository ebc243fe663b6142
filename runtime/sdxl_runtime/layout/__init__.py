"""What is on a model's volume: which files are loaded, what is missing or wrong, the digest over them. No torch."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sdxl_runtime.layout import adapter, folder
from sdxl_runtime.settings import ModelContent

__all__ = ["Layout", "Measured", "check", "measure"]

PART_BYTES = 1024 * 1024
"""What is read at a time."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A checked model or adapter: the files that are loaded, relative to `folder`, sorted."""

    folder: Path
    files: tuple[str, ...]
    size_multiple: int
    """Width and height of a picture must be multiples of this: VAE factor × 2^(UNet levels − 1); 1 for an adapter."""
    rank: int | None = None
    """The highest rank of an adapter's parts; None for a model."""

    @property
    def bytes(self) -> int:
        """The size of the files."""
        return sum((self.folder / name).stat().st_size for name in self.files)


@dataclass(frozen=True, slots=True)
class Measured:
    """`digest` is `sha256:<64 hex>` over the sorted lines `<path> <bytes> <sha256>` of the files."""

    digest: str
    bytes: int
    files: int


def check(path: Path, variant: str, content: ModelContent = ModelContent.PIPELINE) -> Layout:
    """Find every file that is loaded: the variant's of a model, or the one of an adapter (a file or its folder).

    Raises:
        Failure: `ModelMissing` (nothing there), or `ModelInvalid` naming what is missing or wrong, and what is there
            instead.
    """
    if content is ModelContent.ADAPTER:
        file = adapter.find(path)
        return Layout(file.parent, (file.name,), 1, adapter.read(file).rank)
    kind = folder.REFINER if content is ModelContent.REFINER else folder.PIPELINE
    return Layout(path, folder.files(path, variant, kind), folder.size_multiple(path))


def measure(layout: Layout, read: Callable[[int], None] = lambda count: None) -> Measured:
    """The digest over the files; `read` is called with the bytes of each part once they were read."""
    lines, total = [], 0
    for name in layout.files:
        path = layout.folder / name
        size = path.stat().st_size
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while part := file.read(PART_BYTES):
                digest.update(part)
                read(len(part))
        lines.append(f"{name} {size} {digest.hexdigest()}\n")
        total += size
    return Measured(f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}", total, len(lines))
