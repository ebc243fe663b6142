"""From a hub onto the volume: listed, selected, loaded through a staging folder, checked, and published by a rename.

What was loaded stays in the staging folder whatever happens, so the next run goes on where this one stopped. The
folder that is published holds a record of where it came from; a run that finds it, and every file as the hub listed
it, asks no hub at all.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx2

from sdxl_runtime.layout import check
from sdxl_runtime.lock import locked
from sdxl_runtime.progress import Progress
from sdxl_runtime.settings import Settings
from sdxl_runtime.sources import volume
from sdxl_runtime.sources.repository import Checksum, Hub, RemoteFile, Repository
from sdxl_runtime.sources.retrying import LIST, Patience, Transient, Tries
from sdxl_runtime.sources.selection import Wanted, select
from sdxl_runtime.sources.transfer import present_bytes, transfer
from sdxl_runtime.termination import Failure, Reason

RECORD = ".source.json"
"""Beside the files: where they are from, and their sizes and checksums as the hub listed them."""

log = logging.getLogger(__name__)


def download(hubs: Sequence[Hub], settings: Settings, progress: Progress, patience: Patience) -> None:
    """Bring the repository to `settings.model_path`; `hubs` are the same one with each of the tokens, tried in turn.

    Raises:
        Failure: classified, with what to do.
    """
    target, repository = settings.model_path, hubs[0].repository
    with locked(volume.lock_of(target), f"fetch of {target.name}"):
        volume.sweep(target)
        progress.stage("Comparing")
        if _is_published(target, repository, settings):
            log.info("%s is there already, as its hub listed it", repository.source)
            return
        staging = volume.staging_of(target)
        _begin(staging, repository, settings)
        wanted = _load_with_any(hubs, settings, staging, progress, patience)
        _tidy(staging, wanted)
        check(staging, settings.model_variant, settings.model_content)
        files = {name: asdict(file) for name, file in sorted(wanted.items())}
        _write_record(staging, {**_identity(repository, settings), "files": files})
        volume.publish(staging, target)


def _load_with_any(
    hubs: Sequence[Hub], settings: Settings, staging: Path, progress: Progress, patience: Patience
) -> Wanted:
    """Load with the first token that may; the failure that helps most is told if none may."""
    refusals: list[Failure] = []
    for hub in hubs:
        try:
            return _load(hub, settings, staging, progress, patience)
        except Failure as failure:
            if failure.reason not in (Reason.SOURCE_UNAUTHORIZED, Reason.SOURCE_NOT_FOUND):
                raise
            refusals.append(failure)
    raise next((item for item in refusals if item.reason is Reason.SOURCE_UNAUTHORIZED), refusals[-1])


def _load(hub: Hub, settings: Settings, staging: Path, progress: Progress, patience: Patience) -> Wanted:
    progress.stage("Listing")
    listed = _listing(hub, patience)
    with _client(patience) as client:

        def read(name: str, file: RemoteFile) -> Path:
            transfer(client, hub, file, staging / name, patience, lambda count: None)
            return staging / name

        wanted = select(hub.repository, listed, settings.model_variant, settings.model_content, read)
        present = {name: present_bytes(file, staging / name) for name, file in wanted.items()}
        total = sum(file.size for file in wanted.values())
        volume.make_room(staging, total - sum(present.values()))
        progress.stage("Downloading")
        progress.transfer(total, sum(present.values()))
        log.info("%d files of %d bytes, of which %d are there", len(wanted), total, sum(present.values()))
        for name, file in sorted(wanted.items(), key=lambda item: item[1].size):
            transfer(client, hub, file, staging / name, patience, progress.add_bytes)
    return wanted


def _listing(hub: Hub, patience: Patience) -> list[RemoteFile]:
    tries = Tries(hub, LIST, patience)
    while True:
        try:
            return hub.list_files()
        except Transient as error:
            tries.pause(error)


@contextmanager
def _client(patience: Patience) -> Iterator[httpx2.Client]:
    """Proxies and certificates come from the environment; a token is not sent on to another host."""
    with httpx2.Client(follow_redirects=True, timeout=patience.timeout) as client:
        yield client


def _identity(repository: Repository, settings: Settings) -> dict[str, str]:
    return {
        "source": repository.source,
        "revision": repository.revision,
        "variant": settings.model_variant,
        "content": settings.model_content.value,
    }


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _is_published(target: Path, repository: Repository, settings: Settings) -> bool:
    record = _read_record(target)
    files = record.pop("files", None)
    if not files or record != _identity(repository, settings):
        return False
    try:
        listed = {name: RemoteFile(**{**item, "checksum": Checksum(item["checksum"])}) for name, item in files.items()}
    except (TypeError, ValueError, KeyError, AttributeError):
        return False
    damaged = [name for name, file in listed.items() if not file.matches(target / name)]
    if damaged:
        log.warning("%s is damaged: %s; it is loaded anew", target, ", ".join(damaged[:12]))
    return not damaged


def _begin(staging: Path, repository: Repository, settings: Settings) -> None:
    """Go on with what was staged of the same revision; anything else goes."""
    identity = _identity(repository, settings)
    record = _read_record(staging)
    record.pop("files", None)
    if record != identity:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        _write_record(staging, identity)


def _tidy(staging: Path, wanted: Wanted) -> None:
    """Remove what was read for the selection only, or loaded under other rules."""
    for path in sorted(staging.rglob("*"), reverse=True):
        name = str(path.relative_to(staging))
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif name not in wanted and name != RECORD:
            path.unlink()


def _write_record(staging: Path, record: Mapping[str, Any]) -> None:
    temporary = staging / f"{RECORD}.partial"
    with temporary.open("w") as file:
        json.dump(record, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(staging / RECORD)
