"""How an artefact is named on a command line: `oci://host/repository:tag`, `oci-layout:path:tag`, or a path."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from sdxl_runtime.oci.content import DIGEST
from sdxl_runtime.settings import SettingsError

SCHEME = "oci://"
LAYOUT = "oci-layout:"
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_REGISTRY = re.compile(
    rf"(?P<host>{_HOST})/(?P<repository>{_PART}(?:/{_PART})*)"
    rf"(?::(?P<tag>{TAG.pattern}))?(?:@(?P<digest>{DIGEST.pattern}))?"
)


@dataclass(frozen=True, slots=True)
class RegistryName:
    """An artefact in a registry; `tag` and `digest` may be empty."""

    host: str
    """With its port, where it has one."""
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{SCHEME}{self.host}/{self.repository}{tag}{f'@{self.digest}' if self.digest else ''}"

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is on this machine."""
        name = re.sub(r":\d+$", "", self.host).strip("[]")
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return name == "localhost"


@dataclass(frozen=True, slots=True)
class LayoutName:
    """An artefact in an image layout, a folder or a `.tar` file; `tag` and `digest` may be empty."""

    path: Path
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        place = f"{LAYOUT}{self.path}:{self.tag}" if self.tag else str(self.path)
        return f"{place}{f'@{self.digest}' if self.digest else ''}"

    @property
    def is_archive(self) -> bool:
        """Whether it is one file."""
        return self.path.suffix == ".tar"


Name = RegistryName | LayoutName


def parse(text: str) -> Name:
    """Read a name; a plain path is one of a layout.

    Raises:
        SettingsError: it is none; the message says what would be one.
    """
    if text.startswith(SCHEME):
        found = _REGISTRY.fullmatch(text.removeprefix(SCHEME))
        if found is None:
            raise SettingsError(
                f"{text!r} is no artefact in a registry; it must be like oci://host/repository:tag, "
                "or oci://host/repository@sha256: and 64 hex digits"
            )
        return RegistryName(found["host"], found["repository"], found["tag"] or "", found["digest"] or "")
    path, at, hexadecimal = text.removeprefix(LAYOUT).partition("@sha256:")
    digest = f"sha256:{hexadecimal}" if at else ""
    if "://" in text or not path or (at and not DIGEST.fullmatch(digest)):
        raise SettingsError(
            f"{text!r} is no artefact; it must begin with {SCHEME} or {LAYOUT}, or be a folder's or a .tar file's path"
        )
    tag = ""
    if text.startswith(LAYOUT) and (tagged := re.fullmatch(rf"(.+):({TAG.pattern})", path)):
        path, tag = tagged[1], tagged[2]
    return LayoutName(Path(path), tag, digest)
