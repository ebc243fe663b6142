"""The bank on its volume: staging folders, publishing by rename, and what a reader accepts."""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from sdxl_runtime.bank.identity import differences
from sdxl_runtime.bank.manifest import NAME, Manifest, ManifestError, State, digest_of, file_record
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.lock import Held, locked

STAGING = ".staging-"


class Why(StrEnum):
    """Why there is no entry to load; the reasons of the condition `BankReady`."""

    MISSING = "Missing"
    STALE = "Stale"
    CORRUPT = "Corrupt"


@dataclass(frozen=True, slots=True)
class Entry:
    """A published entry; whoever reads one says whether its files were verified."""

    folder: Path
    manifest: Manifest
    digest: str


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no entry that may be loaded; `why` is a sentence."""

    why: str
    reason: Why | None = Why.MISSING
    """None where nobody asked for an entry, or where it is right that there is none."""
    digest: str = ""
    """The one that was accepted; empty where none was."""


class Bank:
    """The writer's side: entries of one identity under `root`. Hold `lock()` while writing."""

    def __init__(self, root: Path, identity: str) -> None:
        self.root = root
        self.folder = root / identity

    def lock(
        self, purpose: str, waits_for: Callable[[str], None], wait_seconds: float = 300
    ) -> AbstractContextManager[Held]:
        """One writer per bank, whatever its identity; `waits_for` is told for which other one it waits.

        Raises:
            Failure: `BankLocked`, naming the owner, after `wait_seconds`.
        """
        return locked(self.root / ".lock", purpose, wait_seconds, waits_for=waits_for)

    def sweep(self) -> int:
        """Remove what interrupted writers left in staging, of any identity; returns how many folders."""
        leftovers = [*self.root.glob(f"{STAGING}*"), *self.root.glob(f"*/{STAGING}*")]
        for leftover in leftovers:
            shutil.rmtree(leftover)
        return len(leftovers)

    def entry(self, bucket: Bucket) -> Entry | Missing:
        """What is published for a bucket, its files verified, whether kept or dropped."""
        return verified(self.folder / bucket.key)

    @contextmanager
    def staging(self, bucket: Bucket) -> Iterator[Path]:
        """An empty folder on the bank's volume; what is not published is gone when the block ends."""
        folder = self.folder / f"{STAGING}{bucket.key}-{secrets.token_hex(4)}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, staging: Path, manifest: Manifest, content: bytes = b"") -> Entry:
        """Write the manifest beside the staged files and rename the folder to the bucket's name.

        A damaged or superseded entry of that name is moved aside first. `manifest.files` must be the staged ones.
        `content` are the manifest's own bytes where it was made elsewhere: the digest is over them.
        """
        content = content or manifest.to_bytes()
        (staging / NAME).write_bytes(content)
        _flush(staging)
        target = self.folder / manifest.bucket.key
        if target.exists():
            aside = self.folder / f"{STAGING}replaced-{secrets.token_hex(4)}"
            target.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        staging.rename(target)  # fails where another writer was faster: a folder that is not empty is never replaced
        _flush_folder(self.folder)
        return Entry(target, manifest, digest_of(content))


def manifest_path(root: Path, identity: str, bucket: Bucket) -> Path:
    """Where the manifest of a bucket's entry is, or would be."""
    return root / identity / bucket.key / NAME


def identities(root: Path) -> list[str]:
    """What the bank on a volume holds entries for, sorted."""
    return sorted({path.parent.parent.name for path in root.glob(f"[!.]*/[!.]*/{NAME}")})


def entries(root: Path, identity: str) -> list[Path]:
    """The folders of an identity's entries, sorted; staging is never among them."""
    return sorted(path.parent for path in (root / identity).glob(f"[!.]*/{NAME}"))


def recorded(folder: Path) -> Entry | Missing:
    """What an entry's manifest says; its files are not read."""
    try:
        content = (folder / NAME).read_bytes()
        return Entry(folder, Manifest.from_bytes(content), digest_of(content))
    except FileNotFoundError:
        return Missing(f"the bank has no {folder.name}")
    except (OSError, ManifestError) as error:
        return Missing(f"the manifest of {folder.name} cannot be read: {error}", Why.CORRUPT)


def verified(folder: Path) -> Entry | Missing:
    """What an entry's manifest says, if every file is the one it names."""
    entry = recorded(folder)
    if isinstance(entry, Missing):
        return entry
    for name, record in entry.manifest.files.items():
        try:
            found = file_record(folder / name)
        except OSError as error:
            return Missing(f"{folder.name}/{name} cannot be read: {error}", Why.CORRUPT)
        if found != record:
            return Missing(f"{folder.name}/{name} is damaged: its sha256 is not the manifest's", Why.CORRUPT)
    return entry


def accepted_entry(
    root: Path | None,
    accepted_file: Path | None,
    identity: str,
    bucket: Bucket,
    fields: Mapping[str, str] | None = None,
) -> Entry | Missing:
    """The bucket's entry, if the operator accepted its digest, it is of this identity and its files are intact.

    `fields` are this process's own identity fields: with them a different identity is explained field by field.
    """
    if root is None:
        return Missing("no bank is configured")
    if accepted_file is None or not accepted_file.is_file():
        return Missing("no entry of the bank was accepted yet" if root.is_dir() else f"there is no bank at {root}")
    try:
        accepted = json.loads(accepted_file.read_bytes())
        name, digests = str(accepted["identity"]), dict(accepted["digests"])
        if identity in (others := dict(accepted.get("others") or {})):  # the volume serves several kinds of nodes
            name, digests = identity, dict(others[identity])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Missing(f"{accepted_file} cannot be read: {error}", Why.CORRUPT)
    digest = str(digests.get(bucket.key, ""))
    if name != identity:
        why = f"the bank was made for identity {name}, this is {identity}{_explain(root / name, fields)}"
        return Missing(why, Why.STALE, digest)
    if not digest:
        return _not_accepted(root / identity / bucket.key)
    if not root.is_dir():
        return Missing(f"there is no bank at {root}, which had {bucket.key}: its volume was emptied", digest=digest)
    entry = verified(root / identity / bucket.key)
    if isinstance(entry, Missing):
        return replace(entry, digest=digest)
    return _as_accepted(entry, identity, bucket, digest)


def _not_accepted(folder: Path) -> Missing:
    """Why no entry of a bucket was accepted, in the manifest's words where it was dropped: that is no complaint."""
    entry = recorded(folder)
    if isinstance(entry, Entry) and entry.manifest.state is State.DROPPED:
        return Missing(f"the bank holds no kept entry for {folder.name}: {entry.manifest.why}", None)
    return Missing(f"the bank holds no kept entry for {folder.name}")


def _as_accepted(entry: Entry, identity: str, bucket: Bucket, digest: str) -> Entry | Missing:
    if entry.digest != digest:
        return Missing(f"{bucket.key} has digest {entry.digest}, accepted is {digest}", Why.STALE, digest)
    if entry.manifest.state is not State.KEPT:
        return Missing(f"{bucket.key} was dropped: {entry.manifest.why}", Why.MISSING, digest)
    if entry.manifest.identity != identity or entry.manifest.bucket != bucket:
        why = f"{bucket.key} says it is {entry.manifest.bucket.key} of {entry.manifest.identity}"
        return Missing(why, Why.CORRUPT, digest)
    return entry


def _explain(other: Path, fields: Mapping[str, str] | None) -> str:
    known = None if fields is None else fields_of(other.parent, other.name)
    return "" if fields is None or known is None else f": {differences(fields, known)}"


def fields_of(root: Path, identity: str) -> Mapping[str, str] | None:
    """The fields of an identity, from the first entry that can be read; None where there is none."""
    found = (recorded(folder) for folder in entries(root, identity))
    return next((entry.manifest.identity_fields for entry in found if isinstance(entry, Entry)), None)


def _flush(folder: Path) -> None:
    """Get every file onto the disk before the rename makes it visible: a lost node must not leave a half entry."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            _flush_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
