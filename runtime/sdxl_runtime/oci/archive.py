"""Image layouts in one `.tar` file, whose bytes follow from its content: no times, no owners, one order."""

import hashlib
import os
import secrets
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO

from sdxl_runtime.oci.content import Blob, Descriptor, invalid
from sdxl_runtime.oci.layout import INDEX_FILE, MARKER, VERSION, Layout, blob_path, index_of, named
from sdxl_runtime.termination import Failure, Reason


class Archive(Layout):
    """A layout in one file, to be read."""

    def __init__(self, place: Path) -> None:
        self.place = place
        try:
            self._tar = tarfile.open(place)  # noqa: SIM115 - closed by `close`
        except FileNotFoundError:
            raise Failure(Reason.ARTIFACT_MISSING, f"there is no {place}") from None
        except tarfile.TarError as error:
            raise invalid(f"{place} cannot be read: {error}") from None
        self._members = self._files()

    def _files(self) -> Mapping[str, tarfile.TarInfo]:
        try:
            return {member.name.removeprefix("./"): member for member in self._tar.getmembers() if member.isfile()}
        except tarfile.TarError as error:
            self._tar.close()
            raise invalid(f"{self.place} cannot be read: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._tar.close()

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        """As `Layout`."""
        member = self._members.get(name)
        file = None if member is None else self._tar.extractfile(member)
        if file is None:
            raise FileNotFoundError(2, "no such member", None)
        try:
            with file:
                yield file
        except tarfile.TarError as error:
            raise invalid(f"{self.place} cannot be read: {error}") from None


class NewArchive:
    """A layout in one file, to be written: in the order of what comes, without times and owners. `close` makes it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.parent.mkdir(parents=True, exist_ok=True)
        self._partial = place.with_name(f".{place.name}.partial-{secrets.token_hex(4)}")
        self._tar = tarfile.open(self._partial, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by `close`
        self._held: list[Descriptor] = []
        self._digests: set[str] = set()
        self._add(MARKER, BytesIO(VERSION), len(VERSION))

    def manifest(self, reference: str) -> bytes | None:
        """As `Shelf`: nothing was there before."""
        return None

    def read(self, descriptor: Descriptor) -> bytes:
        """As `Shelf`: nothing was there before."""
        raise invalid(f"{self.place} lacks {descriptor.digest}: it is being written")

    def push(self, blob: Blob) -> None:
        """As `Target`."""
        digest, size = blob.descriptor.digest, blob.descriptor.size
        if digest in self._digests:
            return
        self._digests.add(digest)
        with BytesIO(blob.content) if isinstance(blob.content, bytes) else blob.content.open("rb") as file:
            hashing = _Hashing(file)
            self._add(blob_path(digest), hashing, size)
        if hashing.digest != digest:
            raise invalid(f"{digest} of {size} bytes is damaged: its file holds other bytes")

    def publish(self, content: bytes, tag: str, artifact_type: str = "") -> None:
        """As `Target`."""
        new = named(content, tag, artifact_type)
        self.push(Blob(new, content))
        self._held.append(new)

    def close(self, whole: bool) -> None:
        """Give the file its name, or remove it where the work was not done."""
        if whole:
            index = index_of(self._held)
            self._add(INDEX_FILE, BytesIO(index), len(index))
        self._tar.close()
        if whole:
            _flush(self._partial)
            self._partial.replace(self.place)
        self._partial.unlink(missing_ok=True)

    def _add(self, name: str, file: "BytesIO | _Hashing", size: int) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o644
        self._tar.addfile(member, file)  # type: ignore[arg-type]  # it only reads


class _Hashing:
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, count: int) -> bytes:
        content = self._file.read(count)
        self._hash.update(content)
        return content

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
