"""OCI artefacts: names, registries, image layouts, signatures. A bank is one kind of them; nothing here knows of banks.

Own code, because the client library for Python does not compare what a registry sends with its digest.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sdxl_runtime.oci.archive import Archive, NewArchive
from sdxl_runtime.oci.content import Source, Target
from sdxl_runtime.oci.layout import Folder
from sdxl_runtime.oci.names import Name, RegistryName
from sdxl_runtime.oci.registry import Registry
from sdxl_runtime.oci.session import Access, Session

__all__ = ["Access", "reading", "writing"]


@contextmanager
def reading(name: Name, access: Access) -> Iterator[Source]:
    """Where an artefact is read, closed when the block ends.

    Raises:
        SettingsError: the credentials cannot be read.
        Failure: `ArtifactMissing`, there is no such archive; `ArtifactInvalid`, it cannot be read.
    """
    if isinstance(name, RegistryName):
        with _registry(name, access) as registry:
            yield registry
    elif name.is_archive:
        archive = Archive(name.path)
        try:
            yield archive
        finally:
            archive.close()
    else:
        yield Folder(name.path)


@contextmanager
def writing(name: Name, access: Access) -> Iterator[Target]:
    """Where an artefact is written, closed when the block ends; an archive is there only if nothing was raised.

    Raises:
        SettingsError: the credentials cannot be read.
    """
    if isinstance(name, RegistryName):
        with _registry(name, access) as registry:
            yield registry
    elif name.is_archive:
        with _new(NewArchive(name.path)) as archive:
            yield archive
    else:
        yield Folder(name.path)


@contextmanager
def _registry(name: RegistryName, access: Access) -> Iterator[Registry]:
    session = Session(name, access)
    try:
        yield Registry(session)
    finally:
        session.close()


@contextmanager
def _new(archive: NewArchive) -> Iterator[NewArchive]:
    whole = False
    try:
        yield archive
        whole = True
    finally:
        archive.close(whole)
