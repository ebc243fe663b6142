"""Credentials for a registry from files as `docker login` writes them, and as Kubernetes keeps them in pull Secrets."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdxl_runtime.settings import SettingsError


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password, or a token that is exchanged for access."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an `Authorization` header."""
        return f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"


def find(path: Path | None, host: str, repository: str) -> Credentials | None:
    """The credentials of the longest entry for this repository: `host`, or `host/first/parts`; None without one.

    `path` is a file, or a folder of such files.

    Raises:
        SettingsError: a file cannot be read as one.
    """
    if path is None or not path.exists():
        return None
    target = f"{_alias(host)}/{repository}"
    found = {name: entry for file in _files(path) for name, entry in _entries(file)}
    fits = [name for name in found if target == name or target.startswith(f"{name}/")]
    return _credentials(found[max(fits, key=len)]) if fits else None


def _alias(host: str) -> str:
    return "index.docker.io" if host in ("docker.io", "registry-1.docker.io") else host


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith(".."))


def _entries(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        content = json.loads(path.read_bytes())
        entries = content.get("auths", content)  # the older kind of Secret has no member around them
        for name, entry in entries.items():
            if isinstance(entry, dict):
                yield _plain(str(name)), entry
    except (OSError, ValueError, AttributeError) as error:
        raise SettingsError(
            f"SDXL_REGISTRY_CONFIG names {str(path)!r}, which cannot be read ({type(error).__name__}); "
            'it must be like Docker\'s config.json: {"auths": {"host": {"auth": "…"}}}'
        ) from None


def _plain(name: str) -> str:
    """`https://index.docker.io/v1/` and the like without scheme and version."""
    host = name.removeprefix("https://").removeprefix("http://").rstrip("/")
    plain = host.removesuffix("/v1").removesuffix("/v2")
    first, slash, rest = plain.partition("/")
    return f"{_alias(first)}{slash}{rest}"


def _credentials(entry: Mapping[str, Any]) -> Credentials | None:
    user, password = str(entry.get("username", "")), str(entry.get("password", ""))
    if entry.get("auth"):
        try:
            user, _, password = base64.b64decode(str(entry["auth"])).decode().strip("\0").partition(":")
        except ValueError:
            raise SettingsError("SDXL_REGISTRY_CONFIG: an auth is not base64 of user:password") from None
    token = str(entry.get("identitytoken", ""))
    return Credentials(user, password, token) if user or token else None
