"""A bank from its volume into a registry or an image layout: verified, then stored, then signed, then named."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from sdxl_runtime.bank.artifact import ARTIFACT_TYPE, pack
from sdxl_runtime.bank.identity import name_of
from sdxl_runtime.bank.store import Entry, Missing, entries, identities, verified
from sdxl_runtime.oci.content import Blob, Target, digest_of
from sdxl_runtime.settings import SettingsError
from sdxl_runtime.termination import Failure, Reason

Signer = Callable[[Target, str], bool]
"""Signs the artefact of a digest in its target."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was stored. `bytes` is the size of all content, whether it was there before or not."""

    digest: str
    tag: str
    identity: str
    keys: tuple[str, ...]
    bytes: int


def export(
    root: Path,
    identity: str,
    keys: Collection[str],
    target: Target,
    tag: str,
    sign: Signer | None = None,
    told: Callable[[Blob], None] = lambda blob: None,
) -> Exported:
    """Store a bank's entries of one identity; without `identity` the only one, without `keys` all, without `tag` it.

    Raises:
        SettingsError: the volume holds no such identity or bucket; the message lists those it holds.
        Failure: `ArtifactInvalid`, an entry is damaged; what the target raises.
    """
    identity = _chosen(root, identity)
    found = [_intact(folder, identity) for folder in entries(root, identity) if not keys or folder.name in keys]
    if missing := sorted(set(keys) - {entry.folder.name for entry in found}):
        there = ", ".join(folder.name for folder in entries(root, identity))
        raise SettingsError(f"the bank has no {', '.join(missing)} of {identity}; it has {there}")
    manifest, blobs = pack(found)
    for blob in blobs:
        told(blob)
        target.push(blob)
    digest = digest_of(manifest)
    if sign is not None:  # before the name: nobody is to find an artefact whose signature is yet to come
        sign(target, digest)
    target.publish(manifest, tag or identity, ARTIFACT_TYPE)
    size = sum(blob.descriptor.size for blob in blobs)
    return Exported(digest, tag or identity, identity, tuple(entry.folder.name for entry in found), size)


def _chosen(root: Path, identity: str) -> str:
    held = identities(root)
    if identity in held:
        return identity
    if identity or len(held) != 1:
        what = f"holds {', '.join(held)}" if held else "is empty"
        raise SettingsError(f"--identity is {identity!r}, but the bank at {root} {what}; name one that it holds")
    return held[0]


def _intact(folder: Path, identity: str) -> Entry:
    found = verified(folder)
    if isinstance(found, Missing):
        raise Failure(Reason.ARTIFACT_INVALID, f"{found.why}; nothing was exported", folder.name)
    if found.manifest.identity != identity or name_of(found.manifest.identity_fields) != identity:
        text = f"{folder.name} is in the folder of {identity}, but its own fields are of another identity"
        raise Failure(Reason.ARTIFACT_INVALID, f"{text}; nothing was exported", folder.name)
    return found
