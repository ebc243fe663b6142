"""`bank export` and `bank import`: from the command line and the environment to one or the other, and what is told."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from sdxl_runtime.bank.artifact import Contents, contents
from sdxl_runtime.bank.exporting import Signer, export
from sdxl_runtime.bank.identity import identity
from sdxl_runtime.bank.importing import Checker, Imported, bring, report
from sdxl_runtime.bank.listing import size
from sdxl_runtime.device import open_device
from sdxl_runtime.oci import Access, reading, signature, writing
from sdxl_runtime.oci.content import Blob, Manifest, Source, Target
from sdxl_runtime.oci.names import Name, RegistryName, parse
from sdxl_runtime.progress import Progress, served
from sdxl_runtime.settings import Backend, Settings, SettingsError
from sdxl_runtime.termination import Failure, Reason, classify, run

Options = argparse.Namespace
CARDLESS = (Backend.CPU, Backend.SIMULATED)
"""Backends that say the same of themselves in a container without an accelerator."""


def export_command(settings: Settings, options: Options) -> int:
    """Store a bank, and say under what name and digest."""
    root, name = bank_folder(settings, options), parse(options.target)
    if name.digest:
        raise SettingsError(f"the target {options.target!r} has a digest, which follows from the content; give a tag")
    with writing(name, access(settings, options.registry_config, options.plain_http)) as target:
        done = export(root, options.identity, options.bucket, target, name.tag, _signer(name, options), _tell)
    where = replace(name, tag=done.tag, digest=done.digest)
    print(f"{where}\n{len(done.keys)} entries of {done.identity}, {size(done.bytes)}: {', '.join(done.keys)}")
    return 0


def import_command(settings: Settings, options: Options) -> int:
    """Bring a bank; in a pod, which has a termination log, with `/progress` and a message in that log."""
    progress, in_pod = Progress(), settings.termination_log.exists()
    log = settings.termination_log if in_pod else Path(os.devnull)
    with served(progress, settings.host, settings.internal_port) if in_pod else nullcontext():
        return run(log, lambda: _told(lambda: fill(settings, options, progress)))


def fill(settings: Settings, options: Options, progress: Progress) -> Mapping[str, Any]:
    """Import what the options or the environment name; returns the termination message.

    Raises:
        SettingsError: nothing is named, or a key or a name cannot be read.
        Failure: a classified failure.
    """
    text = options.source or settings.bank_from
    if not text:
        raise SettingsError("SDXL_BANK_FROM is empty; name the artefact by it or on the command line")
    name, root, check = parse(text), bank_folder(settings, options), _checker(settings, options)
    with reading(name, access(settings, options.registry_config, options.plain_http)) as source:
        imported = bring(source, _reference(name), root, progress, check)
    message = report(imported, settings.buckets, settings.minimum_speedup_percent, fields_here(settings))
    print(_summary(imported, message))
    return {**message, "seconds": round(progress.seconds)}


def identity_in(text: str, settings: Settings) -> Contents:
    """What an artefact says it was made for; none of its entries is read.

    Raises:
        SettingsError: `text` names none.
        Failure: `ArtifactMissing`, `ArtifactInvalid`, or what the registry answers.
    """
    name = parse(text)
    with reading(name, access(settings)) as source:
        content = source.manifest(_reference(name))
        if content is None:
            raise Failure(Reason.ARTIFACT_MISSING, f"there is no artefact {text}")
        manifest = Manifest.parse(content)
        return contents(manifest, source.read(manifest.config))


def fields_here(settings: Settings) -> Mapping[str, str] | None:
    """This container's own identity fields; None where they cannot be read, or only with a card."""
    if settings.backend not in CARDLESS:
        return None
    try:
        return identity(settings, open_device(settings))[1]
    except (SettingsError, Failure, RuntimeError, ImportError, OSError):
        return None


def bank_folder(settings: Settings, options: Options) -> Path:
    """The root of the bank that a command is about.

    Raises:
        SettingsError: none is named.
    """
    path: Path | None = options.bank or settings.bank_path
    if path is None:
        raise SettingsError("SDXL_BANK_PATH is empty; name the bank's folder by it or by --bank")
    return path


def access(settings: Settings, config: Path | None = None, plain_http: bool = False) -> Access:
    """How registries are reached; with the credentials in Docker's own file where no other is named.

    Raises:
        SettingsError: the file that is named does not exist.
    """
    named = config or settings.registry_config
    if named is not None and not named.exists():
        raise SettingsError(
            f"SDXL_REGISTRY_CONFIG is {str(named)!r}, which does not exist; it must be a file or a folder"
        )
    home = Path(os.environ.get("DOCKER_CONFIG") or Path("~/.docker").expanduser()) / "config.json"
    return Access(named or home, plain_http or settings.registry_plain_http)


def _reference(name: Name) -> str:
    if isinstance(name, RegistryName) and not (name.tag or name.digest):
        raise SettingsError(f"{name} names neither a tag nor a digest; add one, like :latest or @sha256:…")
    return name.digest or name.tag


def _signer(name: Name, options: Options) -> Signer | None:
    if options.sign_key is None:
        return None
    key = signature.private_key(options.sign_key)
    place = f"{name.host}/{name.repository}" if isinstance(name, RegistryName) else name.path.name

    def sign(target: Target, digest: str) -> bool:
        return signature.sign(target, digest, place, key)

    return sign


def _checker(settings: Settings, options: Options) -> Checker | None:
    text = settings.bank_public_key
    if options.public_key is not None:
        try:
            text = options.public_key.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"--public-key {options.public_key} cannot be read: {error}") from None
    if not text:
        return None
    keys = signature.public_keys(text)

    def check(source: Source, digest: str) -> None:
        signature.check(source, digest, keys)

    return check


def _tell(blob: Blob) -> None:
    title = blob.descriptor.annotations.get("org.opencontainers.image.title", "its configuration")
    print(f"{title}, {size(blob.descriptor.size)}", file=sys.stderr)


def _told(work: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """A failure also in a line for people."""
    try:
        return work()
    except Exception as error:
        failure = classify(error)
        print(f"sdxl-runtime bank import: {failure.reason}: {failure.message}", file=sys.stderr)
        raise


def _summary(imported: Imported, message: Mapping[str, Any]) -> str:
    known, count = imported.contents, len(imported.entries)
    lines = [f"{count} entries of {known.identity}, {len(imported.written)} of them new: {known.digest}"]
    if "stale" in message:
        lines.append(f"not usable here: {message['stale']}")
    return "\n".join(lines)
