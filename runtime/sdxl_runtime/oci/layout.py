"""Image layouts in folders: OCI image specification 1.1, image-layout.md."""

import json
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from sdxl_runtime.oci.content import (
    DIGEST,
    INDEX,
    MANIFEST,
    MANIFEST_LIMIT,
    REF_NAME,
    Blob,
    Descriptor,
    Done,
    canonical,
    digest_of,
    invalid,
    nobody,
)
from sdxl_runtime.termination import Failure, Reason

MARKER = "oci-layout"
VERSION = canonical({"imageLayoutVersion": "1.0.0"})
INDEX_FILE = "index.json"
BLOCK_BYTES = 1 << 20


def blob_path(digest: str) -> str:
    """Where a layout keeps some content."""
    return f"blobs/{digest.replace(':', '/')}"


class Layout(ABC):
    """The reading half; a subclass says how a file of the layout is opened."""

    place: Path

    @abstractmethod
    def opened(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """A file of the layout.

        Raises:
            FileNotFoundError: there is none of that name.
        """

    def manifest(self, reference: str) -> bytes | None:
        """As `Shelf`; without a reference the only artefact that is no signature."""
        found = self._find(reference)
        return None if found is None else self.read(found)

    def read(self, descriptor: Descriptor) -> bytes:
        """As `Shelf`."""
        with self._blob(descriptor) as file:
            return descriptor.check(file.read(min(descriptor.size, MANIFEST_LIMIT) + 1))

    def fetch(self, descriptor: Descriptor, path: Path, done: Done = nobody) -> None:
        """As `Source`."""
        with self._blob(descriptor) as source, path.open("xb") as file:
            while block := source.read(BLOCK_BYTES):
                file.write(block)
                done(len(block))
        descriptor.check_file(path)

    def index(self) -> list[Descriptor]:
        """What the layout holds.

        Raises:
            Failure: `ArtifactMissing`, it is no layout; `ArtifactInvalid`, its index cannot be read.
        """
        try:
            with self.opened(INDEX_FILE) as file:
                content = file.read(MANIFEST_LIMIT)
            items = json.loads(content)["manifests"]
            return [Descriptor.from_json(item) for item in items]
        except FileNotFoundError:
            raise Failure(Reason.ARTIFACT_MISSING, f"{self.place} is no OCI image layout: no {INDEX_FILE}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise invalid(f"{INDEX_FILE} of {self.place} cannot be read: {type(error).__name__}: {error}") from None

    def _find(self, reference: str) -> Descriptor | None:
        held = self.index()
        if reference:
            named = [one for one in held if reference in (one.digest, one.annotations.get(REF_NAME))]
            return named[0] if named else None
        wanted = {one.digest: one for one in held if not one.annotations.get(REF_NAME, "").endswith(".sig")}
        if len(wanted) > 1:
            tags = ", ".join(sorted(one.annotations.get(REF_NAME, one.digest) for one in wanted.values()))
            raise Failure(Reason.ARTIFACT_MISSING, f"{self.place} holds several artefacts, name one of: {tags}")
        return next(iter(wanted.values()), None)

    @contextmanager
    def _blob(self, descriptor: Descriptor) -> Iterator[IO[bytes]]:
        with ExitStack() as stack:
            try:
                file = stack.enter_context(self.opened(blob_path(descriptor.digest)))
            except FileNotFoundError:
                raise invalid(f"{self.place} lacks {descriptor.digest}") from None
            yield file


class Folder(Layout):
    """`Source` and `Target`: a folder. Writing adds to what is there."""

    def __init__(self, place: Path) -> None:
        self.place = place

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        """As `Layout`."""
        with (self.place / name).open("rb") as file:
            yield file

    def manifest(self, reference: str) -> bytes | None:
        """As `Layout`; a folder that is to become a layout holds nothing yet."""
        return super().manifest(reference) if (self.place / INDEX_FILE).exists() or not reference else None

    def push(self, blob: Blob) -> None:
        """As `Target`."""
        target = self.place / blob_path(blob.descriptor.digest)
        with suppress(FileNotFoundError, Failure):
            blob.descriptor.check_file(target)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        source = BytesIO(blob.content) if isinstance(blob.content, bytes) else blob.content.open("rb")
        _write(target, source, blob.descriptor)

    def publish(self, content: bytes, tag: str, artifact_type: str = "") -> None:
        """As `Target`."""
        new = named(content, tag, artifact_type)
        self.push(Blob(new, content))
        before = self.index() if (self.place / INDEX_FILE).exists() else []
        kept = [one for one in before if one.annotations.get(REF_NAME) != tag]
        _write(self.place / MARKER, BytesIO(VERSION))
        _write(self.place / INDEX_FILE, BytesIO(index_of([*kept, new])))


def named(content: bytes, tag: str, artifact_type: str) -> Descriptor:
    """The entry of an index for a manifest; a tag that is a digest names nothing more."""
    notes = {} if DIGEST.fullmatch(tag) else {REF_NAME: tag}
    return Descriptor(MANIFEST, digest_of(content), len(content), notes, artifact_type)


def index_of(held: list[Descriptor]) -> bytes:
    """The content of `index.json`."""
    members: dict[str, Any] = {"schemaVersion": 2, "mediaType": INDEX}
    return canonical({**members, "manifests": [one.to_json() for one in held]})


def _write(target: Path, source: IO[bytes], wanted: Descriptor | None = None) -> None:
    """Into a file of another name first, checked, then renamed: nobody ever reads half of one."""
    partial = target.with_name(f".{target.name}.partial-{secrets.token_hex(4)}")
    try:
        with source, partial.open("xb") as file:
            while block := source.read(BLOCK_BYTES):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        if wanted is not None:
            wanted.check_file(partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
