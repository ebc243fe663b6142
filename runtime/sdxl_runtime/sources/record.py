"""Where a folder's files are from: a record in the folder, by which later runs know what they find."""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sdxl_runtime.settings import Settings
from sdxl_runtime.sources.repository import Checksum, RemoteFile, Repository

NAME = ".source.json"
"""Of the record's file."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Origin:
    """What a folder is filled with; files of another origin are of no use in it."""

    source: str
    revision: str
    variant: str
    content: str

    @classmethod
    def of(cls, repository: Repository, settings: Settings) -> "Origin":
        """What the settings ask for."""
        return cls(repository.source, repository.revision, settings.model_variant, settings.model_content.value)


def is_published(folder: Path, origin: Origin) -> bool:
    """Whether a folder holds every file of this origin as the hub listed it."""
    files = _read(folder, origin).get("files")
    if not files:
        return False
    try:
        listed = {name: RemoteFile(**{**item, "checksum": Checksum(item["checksum"])}) for name, item in files.items()}
    except (TypeError, ValueError, KeyError, AttributeError):
        return False
    damaged = [name for name, file in listed.items() if not file.matches(folder / name)]
    if damaged:
        log.warning("%s is damaged: %s; it is loaded anew", folder, ", ".join(damaged[:12]))
    return not damaged


def begin(staging: Path, origin: Origin) -> None:
    """Go on with what was staged of the same origin; anything else goes."""
    if not _read(staging, origin):
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        write(staging, origin, {})


def write(folder: Path, origin: Origin, files: Mapping[str, RemoteFile]) -> None:
    """Leave a record of the folder's files, none while they are still to come."""
    content = {**asdict(origin), "files": {name: asdict(file) for name, file in sorted(files.items())}}
    temporary = folder / f"{NAME}.partial"
    with temporary.open("w") as out:
        json.dump(content, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    temporary.rename(folder / NAME)


def _read(folder: Path, origin: Origin) -> dict[str, Any]:
    """The record of a folder of this origin; empty where there is none, or of another."""
    try:
        record = json.loads((folder / NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    wanted = asdict(origin)
    return record if isinstance(record, dict) and {**record, **wanted} == record else {}
