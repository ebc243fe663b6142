"""OCI content: descriptors by digest and size, manifests, and where they are kept. Nothing is used unchecked.

Media types and annotations: OCI image specification 1.1. Registries take manifests of up to 4 MiB: distribution
specification 1.1.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sdxl_runtime.termination import Failure, Reason

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
TITLE = "org.opencontainers.image.title"
REF_NAME = "org.opencontainers.image.ref.name"
MANIFEST_LIMIT = 4 << 20
"""Bytes of a manifest, and of everything else that is read into memory."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

Done = Callable[[int], None]
"""Told how many more bytes were written."""


def nobody(count: int) -> None:
    """Nobody is told."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What some content is. `size` is in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str = ""

    @classmethod
    def of(cls, content: bytes, media_type: str, annotations: Mapping[str, str] | None = None) -> "Descriptor":
        """The descriptor of bytes in memory."""
        return cls(media_type, digest_of(content), len(content), annotations or {})

    @classmethod
    def from_json(cls, item: Any) -> "Descriptor":
        """Read a descriptor.

        Raises:
            Failure: `ArtifactInvalid`, a member is missing, or its digest is not a SHA-256.
        """
        try:
            digest, size = str(item["digest"]), item["size"]
            if not DIGEST.fullmatch(digest):
                raise ValueError(f"digest is {digest!r}; it must be sha256: and 64 hex digits")
            if isinstance(size, bool) or not isinstance(size, int) or size < 0:
                raise ValueError(f"size is {size!r}; it must be a number of bytes")
            annotations = {str(name): str(value) for name, value in (item.get("annotations") or {}).items()}
            return cls(str(item["mediaType"]), digest, size, annotations, str(item.get("artifactType", "")))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise invalid(f"a descriptor cannot be read: {type(error).__name__}: {error}") from None

    def to_json(self) -> dict[str, Any]:
        """As it stands in a manifest; annotations sorted, so that equal content has equal bytes."""
        kind = {"artifactType": self.artifact_type} if self.artifact_type else {}
        notes = {"annotations": dict(sorted(self.annotations.items()))} if self.annotations else {}
        return {"mediaType": self.media_type, **kind, "digest": self.digest, "size": self.size, **notes}

    def check(self, content: bytes) -> bytes:
        """The content, if it is the one described.

        Raises:
            Failure: `ArtifactInvalid`, it is not.
        """
        if len(content) != self.size or digest_of(content) != self.digest:
            raise invalid(f"{self.digest} of {self.size} bytes is damaged: there are {len(content)} other bytes")
        return content

    def check_file(self, path: Path) -> None:
        """Read a file back and compare it.

        Raises:
            Failure: `ArtifactInvalid`, it is not the content described.
        """
        with path.open("rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if path.stat().st_size != self.size or found != self.digest:
            raise invalid(f"{self.digest} of {self.size} bytes is damaged: there are {path.stat().st_size} other bytes")


@dataclass(frozen=True, slots=True)
class Blob:
    """Content to be stored: bytes, or a file that stays where it is."""

    descriptor: Descriptor
    content: bytes | Path


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest as it was read: its descriptor, and its members."""

    descriptor: Descriptor
    content: bytes
    artifact_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]

    @classmethod
    def parse(cls, content: bytes) -> "Manifest":
        """Read a manifest.

        Raises:
            Failure: `ArtifactInvalid`, it is not one of an image or an artefact.
        """
        try:
            item = json.loads(content)
            kind = item.get("mediaType", MANIFEST)
            layers = item["layers"]
            config = item["config"]
            notes = {str(name): str(value) for name, value in (item.get("annotations") or {}).items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise invalid(f"the manifest cannot be read: {type(error).__name__}: {error}") from None
        if kind != MANIFEST or not isinstance(layers, list):
            raise invalid(f"the manifest is a {kind}; it must be an {MANIFEST}")
        found = Descriptor.from_json(config)
        return cls(
            descriptor=Descriptor.of(content, MANIFEST),
            content=content,
            artifact_type=str(item.get("artifactType") or found.media_type),
            config=found,
            layers=tuple(Descriptor.from_json(layer) for layer in layers),
            annotations=notes,
        )


class Shelf(Protocol):
    """Where artefacts are: a registry's repository, or an image layout."""

    def manifest(self, reference: str) -> bytes | None:
        """The manifest of a tag or a digest (then it is checked), None where there is none."""

    def read(self, descriptor: Descriptor) -> bytes:
        """Small content, checked."""


class Source(Shelf, Protocol):
    """Where artefacts come from."""

    def fetch(self, descriptor: Descriptor, path: Path, done: Done = nobody) -> None:
        """Content into a file that is not there yet, checked once it is on the disk."""


class Target(Shelf, Protocol):
    """Where artefacts go."""

    def push(self, blob: Blob) -> None:
        """Store content, unless it is there."""

    def publish(self, content: bytes, tag: str, artifact_type: str = "") -> None:
        """Store a manifest whose content is there already, and let the tag name it."""


def digest_of(content: bytes) -> str:
    """`sha256:<64 hex>` of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def canonical(value: Any) -> bytes:
    """JSON of which there is one form: members sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def invalid(message: str) -> Failure:
    """What was read is not what its digest, its format or its own account says."""
    return Failure(Reason.ARTIFACT_INVALID, message)
