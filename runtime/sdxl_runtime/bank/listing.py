"""What a bank on a volume holds, as rows for people and for programs."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdxl_runtime.bank.manifest import NAME
from sdxl_runtime.bank.store import Entry, Missing, entries, identities, recorded, verified


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of a bank."""

    identity: str
    key: str
    found: Entry | Missing
    age_seconds: float
    """Since it was published."""
    bytes: int
    verified: bool
    """Whether its files were read."""

    @property
    def state(self) -> str:
        """`Kept`, `Dropped`, or `Damaged`."""
        return "Damaged" if isinstance(self.found, Missing) else self.found.manifest.state.value

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        row: dict[str, Any] = {"identity": self.identity, "bucket": self.key, "state": self.state}
        row |= {"ageSeconds": round(self.age_seconds), "bytes": self.bytes, "verified": self.verified}
        if isinstance(self.found, Missing):
            return {**row, "why": self.found.why}
        manifest = self.found.manifest
        measured = {"speedupPercent": manifest.measured.get("speedupPercent"), "difference": dict(manifest.difference)}
        return {**row, "digest": self.found.digest, **measured, "why": manifest.why}


def rows(root: Path, verify: bool, now: float | None = None) -> list[Row]:
    """Every entry under `root`, of every identity; with `verify` its files are read. `now` is Unix time in seconds."""
    moment = time.time() if now is None else now
    look = verified if verify else recorded
    folders = [folder for identity in identities(root) for folder in entries(root, identity)]
    return [
        Row(folder.parent.name, folder.name, look(folder), moment - _published(folder), _size(folder), verify)
        for folder in folders
    ]


def table(found: Sequence[Row]) -> str:
    """The rows in columns; damaged ones say in what."""
    head = ("IDENTITY", "BUCKET", "STATE", "SPEED-UP", "DIFFERENCE", "AGE", "SIZE", "FILES")
    return columns([head, *(_cells(row) for row in found)])


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells, each column as wide as its widest but the last."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def _cells(row: Row) -> tuple[str, ...]:
    files = "not read"
    if isinstance(row.found, Missing):
        files = row.found.why
    elif row.verified:
        files = "intact"
    manifest = row.found.manifest if isinstance(row.found, Entry) else None
    speedup = "" if manifest is None else f"{manifest.measured.get('speedupPercent', '?')} %"
    difference = "" if manifest is None else _difference(manifest.difference)
    return (row.identity, row.key, row.state, speedup, difference, age(row.age_seconds), size(row.bytes), files)


def _difference(difference: Mapping[str, float]) -> str:
    return f"{difference['latentMaximum']:g}" if "latentMaximum" in difference else ""


def age(seconds: float) -> str:
    """Two units at most, as kubectl writes it: `3d4h`, `12m`."""
    left, parts = max(int(seconds), 0), []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"


def size(count: int) -> str:
    """Bytes as people read them."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def _published(folder: Path) -> float:
    return (folder / NAME).stat().st_mtime


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
