"""A figure, what it must be, and the file that holds all of a run."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("sdxl-operator", "torch", "diffusers", "transformers", "fastapi", "uvicorn", "litserve", "ray", "numpy")


@dataclass(frozen=True, slots=True)
class Must:
    """A bound: `<=`, `<`, `>=` or `==`, and a number."""

    relation: str
    bound: float

    def met(self, value: float) -> bool:
        """Whether a value keeps it."""
        return {
            "<=": value <= self.bound,
            "<": value < self.bound,
            ">=": value >= self.bound,
            "==": value == self.bound,
        }[self.relation]

    def __str__(self) -> str:
        return f"{self.relation} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the table. `value` is None where the server lacks what it measures; `note` then says what."""

    name: str
    value: float | None
    unit: str
    must: Must
    peers: Mapping[str, Any] = field(default_factory=dict)
    """What it was compared with, by system, and what else was measured on the way."""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """None where there is no value."""
        return None if self.value is None else self.must.met(self.value)

    def to_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        shown = {**asdict(self), "must": str(self.must), "met": self.met}
        return {name: shown[name] for name in ("name", "value", "unit", "must", "met", "peers", "note")}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    chip = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "chip": chip or platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "memoryGiB": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "loadAverageBefore": round(os.getloadavg()[0], 1),
    }


def versions() -> dict[str, str]:
    """Of Python and the packages that matter; those that are not installed are left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class Results:
    """`benchmarks/results/NAME.json`, written anew after every part, so that a run that is stopped is not lost."""

    def __init__(self, name: str, command: str, folder: Path = RESULTS) -> None:
        self.path = folder / f"{name}.json"
        self._head = {
            "machine": machine(),
            "versions": versions(),
            "date": datetime.now(UTC).isoformat(timespec="minutes"),
            "command": command,
        }
        self._figures: dict[str, dict[str, Any]] = {}

    def keep(self, names: Sequence[str]) -> None:
        """Take over figures of an earlier run that this one does not measure; each says of when it is."""
        if not self.path.is_file():
            return
        earlier = json.loads(self.path.read_bytes())
        for figure in earlier["figures"]:
            if figure["name"] in names:
                of = {"date": earlier["date"], "command": earlier["command"], "machine": earlier["machine"]}
                self._figures[figure["name"]] = {**figure, "measured": figure.get("measured", of)}

    def figures(self) -> list[dict[str, Any]]:
        """All, as they stand in the file."""
        return list(self._figures.values())

    def add(self, figures: Sequence[Figure]) -> None:
        """Put figures into the file."""
        self._figures |= {figure.name: figure.to_json() for figure in figures}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {**self._head, "figures": self.figures()}
        self.path.write_text(json.dumps(content, indent=1) + "\n")
