"""A bank from a registry or an image layout onto its volume: each entry staged, checked, and published by rename.

What is published stays: an import that is stopped at any instant goes on with the entries that are not there yet.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdxl_runtime.bank.artifact import Contents, Packed, contents, unpacked
from sdxl_runtime.bank.identity import differences
from sdxl_runtime.bank.manifest import State
from sdxl_runtime.bank.store import Bank, Entry, recorded
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.lock import Held
from sdxl_runtime.oci.content import Manifest, Source
from sdxl_runtime.progress import Progress
from sdxl_runtime.termination import Failure, Reason, classify

log = logging.getLogger(__name__)

STALE_LIMIT = 1000
"""Characters of the sentence on a bank that is for something else."""

Checker = Callable[[Source, str], None]
"""Raises unless the artefact of a digest is signed as it must be."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What is on the volume now: every entry of the artefact."""

    contents: Contents
    entries: tuple[Entry, ...]
    written: tuple[str, ...]
    """The buckets that were not there before, or not like this."""


def bring(source: Source, reference: str, root: Path, progress: Progress, check: Checker | None = None) -> Imported:
    """Import an artefact: an intact entry of the same digest stays as it is, any other of its name is replaced.

    Raises:
        Failure: `ArtifactMissing`, `ArtifactInvalid`, `SignatureInvalid`, `BankLocked`; what the source raises.
    """
    progress.stage("Resolving")
    content = source.manifest(reference)
    if content is None:
        raise Failure(Reason.ARTIFACT_MISSING, f"there is no artefact {reference}")
    manifest = Manifest.parse(content)
    if check is not None:
        progress.stage("CheckingSignature")
        check(source, manifest.descriptor.digest)
    known = contents(manifest, source.read(manifest.config))
    bank = Bank(root, known.identity)
    progress.stage("WaitingForLock")
    with bank.lock(f"import of {known.digest}", progress.waits_for) as held:
        swept = bank.sweep()
        if swept:
            log.info("removed %d staging folders that interrupted writers left", swept)
        progress.transfer(sum(_size(packed) for packed in known.entries if not _seems_present(bank, packed)))
        work = _Work(source, known, bank, held, progress)
        brought = [work.entry(packed, index) for index, packed in enumerate(known.entries)]
    written = tuple(entry.folder.name for entry, is_new in brought if is_new)
    return Imported(known, tuple(entry for entry, _ in brought), written)


@dataclass(frozen=True, slots=True)
class _Work:
    """One import, for a bank that this process has locked."""

    source: Source
    known: Contents
    bank: Bank
    held: Held
    progress: Progress

    def entry(self, packed: Packed, index: int) -> tuple[Entry, bool]:
        """The entry on the volume, and whether it had to be written."""
        self.progress.begin(packed.key, index + 1, len(self.known.entries))
        self.progress.stage("Verifying")
        content = self.source.read(packed.manifest)
        bucket = unpacked(packed, content, self.known).bucket
        present = self.bank.entry(bucket)
        if isinstance(present, Entry) and present.digest == packed.manifest.digest:
            log.info("%s is already in the bank", packed.key)
            return present, False
        try:
            return self._write(packed, content, bucket), True
        except Exception as error:
            raise classify(error, packed.key) from error

    def _write(self, packed: Packed, content: bytes, bucket: Bucket) -> Entry:
        manifest = unpacked(packed, content, self.known)
        self.progress.stage("Fetching")
        with self.bank.staging(bucket) as folder:
            for name in manifest.files:
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if name in packed.files:
                    self.source.fetch(packed.files[name], path, self.progress.add_bytes)
                else:
                    path.touch()  # an empty file is no layer
            self.progress.stage("Publishing")
            if not self.held.mine():
                raise Failure(Reason.BANK_LOCKED, f"another writer took over {self.bank.root}", packed.key)
            return self.bank.publish(folder, manifest, content)


def _size(packed: Packed) -> int:
    return sum(layer.size for layer in packed.files.values())


def _seems_present(bank: Bank, packed: Packed) -> bool:
    """Whether an entry of this digest is there, if its files are what its manifest says."""
    present = recorded(bank.folder / packed.key)
    return isinstance(present, Entry) and present.digest == packed.manifest.digest


def report(
    imported: Imported, wanted: Collection[Bucket], minimum_speedup_percent: int, here: Mapping[str, str] | None
) -> dict[str, Any]:
    """The termination message's members: the wanted buckets, or all where none is named, and whether they fit here.

    `here` are this container's own identity fields, None where it cannot know them: it has no card.
    """
    entries = {entry.folder.name: entry for entry in imported.entries}
    keys = [bucket.key for bucket in wanted] or list(entries)
    known = imported.contents
    lines = [
        _line(entries[key], minimum_speedup_percent) if key in entries else _missing(key, list(entries)) for key in keys
    ]
    stale = {"stale": _stale(known, here)} if here is not None and dict(here) != dict(known.fields) else {}
    return {"identity": known.identity, "artifact": known.digest, "entries": lines, **stale}


def _line(entry: Entry, minimum_speedup_percent: int) -> dict[str, Any]:
    line = entry.manifest.summary(entry.digest)
    if entry.manifest.state is State.KEPT and line["speedupPercent"] < minimum_speedup_percent:
        ran = f"it ran at {line['speedupPercent']} % of eager's speed"
        why = f"{ran}; at least {minimum_speedup_percent} % is asked for"
        return {**line, "state": State.DROPPED.value, "why": why}
    return line


def _missing(key: str, held: list[str]) -> dict[str, Any]:
    return {"bucket": key, "state": "Missing", "why": f"the artefact holds {', '.join(held)}"}


def _stale(known: Contents, here: Mapping[str, str]) -> str:
    return f"the bank was made for something else: {differences(here, known.fields)}"[:STALE_LIMIT]
