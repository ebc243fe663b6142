"""A repository on a hub: what a source names of it, which files it lists, and what the hubs have in common."""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Protocol

from sdxl_runtime.settings import Settings, SettingsError

_SOURCE = re.compile(r"(?P<scheme>[a-z]+)://(?P<id>[\w][\w.-]*/[\w][\w.-]*)(?:/(?P<path>.+?))?/?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PART_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Repository:
    """A folder, or a file, of a repository at one commit."""

    source: str
    """As the user wrote it."""
    id: str
    """`<owner>/<name>`."""
    path: str
    """Of the folder or file in the repository; empty: all of it."""
    revision: str
    """The commit."""

    @classmethod
    def of(cls, settings: Settings) -> "Repository":
        """The repository that the settings name.

        Raises:
            SettingsError: the source names no repository, or the revision is no commit.
        """
        source, revision = settings.model_source, settings.model_revision
        found = _SOURCE.fullmatch(source)
        if found is None or ".." in source.split("/"):
            scheme = source.partition("://")[0]
            raise SettingsError(
                f"SDXL_MODEL_SOURCE is {source!r}; it must be like {scheme}://<owner>/<repository>[/<path>]"
            )
        if not _COMMIT.fullmatch(revision):
            raise SettingsError(
                f"SDXL_MODEL_REVISION is {revision!r}; it must be a commit, 40 hex digits: a branch or a tag can move"
            )
        return cls(source, found["id"], found["path"] or "", revision)


class Checksum(StrEnum):
    """How a hub says what a file holds."""

    SHA256 = "sha256"
    """Over the content: files in Git LFS."""
    GIT = "git"
    """The SHA-1 of git's blob, which is the content behind a header with its size: all other files."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as its hub lists it."""

    path: str
    """In the repository."""
    size: int
    """Bytes."""
    checksum: Checksum
    digest: str
    """Hex digits."""

    def matches(self, file: Path) -> bool:
        """Whether a file of this machine has the size and the content that the hub lists."""
        if not file.is_file() or file.stat().st_size != self.size:
            return False
        total = hashlib.sha256() if self.checksum is Checksum.SHA256 else hashlib.sha1(usedforsecurity=False)
        if self.checksum is Checksum.GIT:
            total.update(b"blob %d\0" % self.size)
        with file.open("rb") as content:
            while part := content.read(_PART_BYTES):
                total.update(part)
        return total.hexdigest() == self.digest


class Hub(Protocol):
    """A repository as its hub's own client sees it, with one token or none."""

    @property
    def repository(self) -> Repository:
        """What is fetched."""

    @property
    def authenticated(self) -> bool:
        """Whether a token is sent."""

    @property
    def page(self) -> str:
        """Where a person finds the repository, to accept a licence."""

    def list_files(self) -> list[RemoteFile]:
        """All files of the repository at its commit.

        Raises:
            Transient: worth another try.
            Failure: not worth one, classified.
        """

    def request(self, path: str) -> tuple[str, dict[str, str]]:
        """The URL of a file and the headers to ask for it with."""


def is_safe(path: str) -> bool:
    """Whether a path from a listing stays within the folder that it is put into."""
    parts = PurePosixPath(path).parts
    plain = bool(parts) and not path.startswith("/") and "\\" not in path and "\0" not in path
    return plain and all(part not in ("..", ".") for part in parts)
