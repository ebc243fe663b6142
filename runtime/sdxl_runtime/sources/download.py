"""From a hub onto the volume: listed, selected, loaded through a staging folder, checked, and published by a rename.

What was loaded stays in the staging folder whatever happens, so the next run goes on where this one stopped. The
folder that is published holds a record of where it came from; a run that finds it, and every file as the hub listed
it, asks no hub at all.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from sdxl_runtime.layout import check
from sdxl_runtime.lock import Held, locked
from sdxl_runtime.progress import Progress
from sdxl_runtime.settings import Settings
from sdxl_runtime.sources import record, volume
from sdxl_runtime.sources.repository import Hub, RemoteFile
from sdxl_runtime.sources.retrying import LIST, Patience, Transient, Tries
from sdxl_runtime.sources.selection import Wanted, select
from sdxl_runtime.sources.transfer import present_bytes, transfer
from sdxl_runtime.termination import Failure, Reason

LOOK_SECONDS = 5.0
"""How often a writer sees whether it still is the one."""

log = logging.getLogger(__name__)


def download(hubs: Sequence[Hub], settings: Settings, progress: Progress, patience: Patience) -> None:
    """Bring the repository to `settings.model_path`; `hubs` are the same one with each of the tokens, tried in turn.

    Raises:
        Failure: classified, with what to do.
    """
    target, repository = settings.model_path, hubs[0].repository
    progress.stage("WaitingForLock")
    with locked(volume.lock_of(target), f"fetch of {target.name}", waits_for=progress.waits_for) as held:
        volume.sweep(target)
        progress.stage("Comparing")
        origin = record.Origin.of(repository, settings)
        if record.is_published(target, origin):
            log.info("%s is there already, as its hub listed it", repository.source)
            return
        staging = volume.staging_of(target)
        record.begin(staging, origin)
        wanted = _load_with_any(hubs, settings, staging, Loader(progress, held, patience))
        _tidy(staging, wanted)
        check(staging, settings.model_variant, settings.model_content)
        record.write(staging, origin, wanted)
        _see_that_it_is_ours(held)
        volume.publish(staging, target)


@dataclass(slots=True)
class Loader:
    """Loads files and counts their bytes, as long as the lock is held."""

    progress: Progress
    held: Held
    patience: Patience
    looked: float = field(default_factory=time.monotonic)

    def load(self, client: httpx2.Client, hub: Hub, file: RemoteFile, target: Path, counted: bool = True) -> None:
        """Bring one file; see `transfer`."""
        tries = Tries(hub, file.path, self.patience, self.progress.waits_for)
        transfer(client, hub, file, target, tries, self._count if counted else self._look)

    def _count(self, count: int) -> None:
        self.progress.add_bytes(count)
        self._look(count)

    def _look(self, count: int) -> None:
        if time.monotonic() - self.looked >= LOOK_SECONDS:
            self.looked = time.monotonic()
            _see_that_it_is_ours(self.held)


def _see_that_it_is_ours(held: Held) -> None:
    if not held.mine():
        raise Failure(Reason.BANK_LOCKED, f"another writer took {held.path.name} over while this one stood still")


def _load_with_any(hubs: Sequence[Hub], settings: Settings, staging: Path, loader: Loader) -> Wanted:
    """Load with the first token that may; the failure that helps most is told if none may."""
    refusals: list[Failure] = []
    for hub in hubs:
        try:
            return _load(hub, settings, staging, loader)
        except Failure as failure:
            if failure.reason not in (Reason.SOURCE_UNAUTHORIZED, Reason.SOURCE_NOT_FOUND):
                raise
            refusals.append(failure)
    raise next((item for item in refusals if item.reason is Reason.SOURCE_UNAUTHORIZED), refusals[-1])


def _load(hub: Hub, settings: Settings, staging: Path, loader: Loader) -> Wanted:
    progress = loader.progress
    progress.stage("Listing")
    listed = _listing(hub, Tries(hub, LIST, loader.patience, progress.waits_for))
    with _client(loader.patience) as client:

        def read(name: str, file: RemoteFile) -> Path:
            loader.load(client, hub, file, staging / name, counted=False)
            return staging / name

        wanted = select(hub.repository, listed, settings.model_variant, settings.model_content, read)
        present = {name: present_bytes(file, staging / name) for name, file in wanted.items()}
        total = sum(file.size for file in wanted.values())
        volume.make_room(staging, total - sum(present.values()))
        progress.stage("Downloading")
        progress.transfer(total, sum(present.values()))
        log.info("%d files of %d bytes, of which %d are there", len(wanted), total, sum(present.values()))
        for name, file in sorted(wanted.items(), key=lambda item: item[1].size):
            loader.load(client, hub, file, staging / name)
    return wanted


def _listing(hub: Hub, tries: Tries) -> list[RemoteFile]:
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


def _tidy(staging: Path, wanted: Wanted) -> None:
    """Remove what was read for the selection only, or loaded under other rules."""
    for path in sorted(staging.rglob("*"), reverse=True):
        name = str(path.relative_to(staging))
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif name not in wanted and name != record.NAME:
            path.unlink()
