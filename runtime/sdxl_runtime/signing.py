"""Ids that carry their owner: signed tokens, so that no replica follows an address that no replica wrote."""

import base64
import binascii
import hmac
import re
import secrets
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sdxl_runtime.settings import SettingsError

SHORTEST_KEY = 16
"""Bytes of a signing key, at least."""
LONGEST_TOKEN = 512
"""Characters; a longer text is no token and is not looked at."""
_DIGEST_BYTES = 32
_HEAD = struct.Struct(">cQ12s")
"""Kind, end in Unix seconds, 96 random bits; the owner follows."""
_HOST = re.compile(r"[0-9A-Za-z]([0-9A-Za-z.-]{0,251}[0-9A-Za-z])?|[0-9A-Fa-f:.]{2,45}")


class Kind(Enum):
    """What a token names; one of another kind is not accepted in its place."""

    JOB = b"j"
    PICTURE = b"p"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a token with a valid signature says."""

    id: bytes
    owner: str
    """`host:port` of the internal port of the replica that made it; empty: it was not told its address."""
    expires_at: int
    """Unix time in seconds."""

    def is_expired(self, now: float) -> bool:
        """Whether its time is over at `now`, Unix time in seconds."""
        return now >= self.expires_at


class Signer:
    """Makes and verifies tokens; replicas with the same `key` (bytes) accept each other's. `owner` is this replica."""

    def __init__(self, key: bytes, owner: str = "", clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self.owner = owner
        self.clock = clock

    def issue(self, kind: Kind, lives_seconds: float) -> tuple[str, Claim]:
        """A new token of this replica, safe in a URL's path, and what it says."""
        claim = Claim(secrets.token_bytes(12), self.owner, int(self.clock() + lives_seconds))
        payload = _HEAD.pack(kind.value, claim.expires_at, claim.id) + self.owner.encode()
        return base64.urlsafe_b64encode(self._digest(payload) + payload).rstrip(b"=").decode(), claim

    def verify(self, token: str, kind: Kind) -> Claim | None:
        """What a token says, also after its end; None where it is malformed, forged, or of another kind."""
        raw = _decoded(token)
        if raw is None or len(raw) < _DIGEST_BYTES + _HEAD.size:
            return None
        digest, payload = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
        if not hmac.compare_digest(digest, self._digest(payload)):
            return None
        named, expires_at, identifier = _HEAD.unpack_from(payload)
        if named != kind.value:
            return None
        return Claim(identifier, payload[_HEAD.size :].decode(), expires_at)

    def _digest(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")


def read_key(path: Path | None) -> bytes:
    """The key that the replicas of a service share; without a path one is drawn, that only this process knows.

    Raises:
        SettingsError: the file cannot be read, or is too short to be a secret.
    """
    if path is None:
        return secrets.token_bytes(32)
    try:
        key = path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"SDXL_SIGNING_KEY_PATH is {str(path)!r}, which cannot be read ({error.strerror}); "
            "it must be a file with a secret, or empty"
        ) from error
    if len(key) < SHORTEST_KEY:
        raise SettingsError(
            f"SDXL_SIGNING_KEY_PATH is {str(path)!r}, a file of {len(key)} bytes; "
            f"it must hold a secret of at least {SHORTEST_KEY} bytes"
        )
    return key


def owner_of(host: str, port: int) -> str:
    """`host:port` as a URL has it; empty where the host is.

    Raises:
        SettingsError: the host is neither an IP address nor a name.
    """
    if not host:
        return ""
    if not _HOST.fullmatch(host):
        raise SettingsError(f"SDXL_ADVERTISED_HOST is {host!r}; it must be an IP address or a host name, without port")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _decoded(token: str) -> bytes | None:
    if len(token) > LONGEST_TOKEN or not token.isascii():
        return None
    padded = token.encode() + b"=" * (-len(token) % 4)
    try:
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    # The last character has bits to spare: only one spelling of a token is one.
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=") == token.encode() else None
