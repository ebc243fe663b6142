"""A bank of one identity as an OCI artefact: what its manifest says, and what of it an importer believes. Pure.

Every file of every entry is a layer of its own, as it is on the volume: a layer's digest is the one that the entry's
`manifest.json` already holds, banks share what they have in common, and any ORAS client can unpack one.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sdxl_runtime.bank.identity import name_of
from sdxl_runtime.bank.manifest import FORMAT, NAME, Manifest, ManifestError
from sdxl_runtime.bank.store import Entry
from sdxl_runtime.oci.content import MANIFEST, TITLE, Blob, Descriptor, canonical, digest_of, invalid
from sdxl_runtime.oci.content import Manifest as ImageManifest

ARTIFACT_TYPE = "application/vnd.sdxl.tune-bank.v1"
CONFIG_TYPE = "application/vnd.sdxl.tune-bank.config.v1+json"
ENTRY_TYPE = "application/vnd.sdxl.tune-bank.entry.v1+json"
FILE_TYPE = "application/vnd.sdxl.tune-bank.file.v1"
NOTE = "dev.sdxl.bank."
_IDENTITY = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Packed:
    """One entry in an artefact: its manifest, and its files by their path in the entry."""

    key: str
    manifest: Descriptor
    files: Mapping[str, Descriptor]

    @property
    def bytes(self) -> int:
        """The size of all of it."""
        return self.manifest.size + sum(file.size for file in self.files.values())


@dataclass(frozen=True, slots=True)
class Contents:
    """What an artefact holds, as far as its manifest and its configuration tell."""

    digest: str
    identity: str
    fields: Mapping[str, str]
    entries: tuple[Packed, ...]


def pack(entries: Sequence[Entry]) -> tuple[bytes, list[Blob]]:
    """The image manifest of verified entries of one identity, and all that it names; equal banks have equal bytes."""
    first = entries[0].manifest
    layers = [blob for entry in entries for blob in _layers(entry)]
    digests = {entry.manifest.bucket.key: entry.digest for entry in entries}
    known = {"format": FORMAT, "identity": first.identity, "identityFields": dict(first.identity_fields)}
    config = canonical({**known, "entries": digests})
    described = Descriptor.of(config, CONFIG_TYPE)
    members: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": described.to_json(),
        "layers": [blob.descriptor.to_json() for blob in layers],
        "annotations": _notes(entries),
    }
    return canonical(members), [*layers, Blob(described, config)]


def _notes(entries: Sequence[Entry]) -> dict[str, str]:
    first = entries[0].manifest
    chip = {f"{NOTE}chip": first.identity_fields["chip"]} if "chip" in first.identity_fields else {}
    return {
        TITLE: f"SDXL tune bank {first.identity}",
        f"{NOTE}identity": first.identity,
        f"{NOTE}buckets": ",".join(entry.manifest.bucket.key for entry in entries),
        **chip,
    }


def _layers(entry: Entry) -> Iterator[Blob]:
    """The entry's manifest with what it measured as annotations, then its files; an empty one is no layer."""
    manifest, folder = entry.manifest, f"{entry.manifest.identity}/{entry.manifest.bucket.key}"
    content = (entry.folder / NAME).read_bytes()
    summary = manifest.summary(entry.digest)
    told = {"state", "eagerMilliseconds", "compiledMilliseconds", "speedupPercent"}
    notes = {f"{NOTE}{name}": str(value) for name, value in summary.items() if name in told}
    notes |= {f"{NOTE}bucket": manifest.bucket.key, TITLE: f"{folder}/{NAME}"}
    yield Blob(Descriptor.of(content, ENTRY_TYPE, notes), content)
    for name, record in sorted(manifest.files.items()):
        if record["bytes"]:
            title = {TITLE: f"{folder}/{name}"}
            found = Descriptor(FILE_TYPE, f"sha256:{record['sha256']}", record["bytes"], title)
            yield Blob(found, entry.folder / name)


def contents(manifest: ImageManifest, config: bytes) -> Contents:
    """What an artefact says it holds.

    Raises:
        Failure: `ArtifactInvalid`, it is no bank, or contradicts itself; the message says in what.
    """
    if manifest.artifact_type != ARTIFACT_TYPE:
        raise invalid(f"it is a {manifest.artifact_type}; a tune bank is {ARTIFACT_TYPE}")
    try:
        item = json.loads(config)
        if item["format"] != FORMAT:
            raise invalid(f"its format is {item['format']}; this runtime reads {FORMAT}")
        identity = str(item["identity"])
        fields = {str(name): str(value) for name, value in item["identityFields"].items()}
        digests = {str(key): str(digest) for key, digest in item["entries"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise invalid(f"its configuration cannot be read: {type(error).__name__}: {error}") from None
    if not _IDENTITY.fullmatch(identity) or name_of(fields) != identity:
        raise invalid(f"its identity is {identity}, but that of its fields is {name_of(fields)}")
    entries = _grouped(manifest, identity)
    if {entry.key: entry.manifest.digest for entry in entries} != digests:
        raise invalid(f"its configuration names the entries {_list(digests)}, its layers others")
    return Contents(manifest.descriptor.digest, identity, fields, entries)


def _grouped(manifest: ImageManifest, identity: str) -> tuple[Packed, ...]:
    found: dict[str, dict[str, Descriptor]] = {}
    for layer in manifest.layers:
        title = layer.annotations.get(TITLE, "")
        first, *parts = title.split("/")
        key, path = parts[0] if parts else "", "/".join(parts[1:])
        if first != identity or len(parts) < 2 or not all(map(_is_plain, parts)) or path in found.get(key, {}):
            raise invalid(f"a layer has the title {title!r}; it must be once {identity}/<bucket>/<path>")
        found.setdefault(key, {})[path] = layer
    without = sorted(key for key, files in found.items() if NAME not in files)
    if without or not found:
        raise invalid(f"it has no {NAME} for {_list(without) or 'any bucket'}")
    return tuple(Packed(key, files.pop(NAME), files) for key, files in sorted(found.items()))


def _is_plain(part: str) -> bool:
    """Whether a part of a path is the name of a file or folder, and no way out."""
    return part not in ("", ".", "..") and part.isprintable() and "\\" not in part


def unpacked(packed: Packed, content: bytes, known: Contents) -> Manifest:
    """The manifest of an entry, if it is of this bank and names the files that the artefact has.

    Raises:
        Failure: `ArtifactInvalid`, naming the entry and what it contradicts.
    """
    try:
        manifest = Manifest.from_bytes(content)
    except ManifestError as error:
        raise invalid(f"{packed.key}: {error}") from None
    if (manifest.identity, manifest.bucket.key) != (known.identity, packed.key):
        raise invalid(f"{packed.key} says it is {manifest.bucket.key} of {manifest.identity}")
    if dict(manifest.identity_fields) != dict(known.fields):
        raise invalid(f"{packed.key} has other identity fields than the bank")
    named = {name: (f"sha256:{file['sha256']}", file["bytes"]) for name, file in manifest.files.items()}
    there = {name: (file.digest, file.size) for name, file in packed.files.items()}
    odd = sorted(name for name in {*named, *there} if named.get(name) != there.get(name) and not _is_empty(name, named))
    if odd or NAME in named or not all(_is_plain(part) for name in named for part in name.split("/")):
        raise invalid(f"{packed.key}: its manifest and the artefact differ in {_list(odd or sorted(named))}")
    return manifest


def _is_empty(name: str, named: Mapping[str, tuple[str, int]]) -> bool:
    return named.get(name) == (digest_of(b""), 0)


def _list(names: Mapping[str, Any] | Sequence[str]) -> str:
    return ", ".join(names)
