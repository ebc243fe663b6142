"""API keys: who may use the public API. Read from a mounted Secret, and again when it changes."""

import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from sdxl_runtime.app.errors import APIError

LOOK_SECONDS = 1.0
"""A changed file counts after this long: between two looks a request costs no system call."""
LARGEST_FILE = 1024 * 1024
"""Bytes; a Secret is not larger."""
OPEN = ("/page/", "/v1/images/files/")
"""Paths below these need no key: the page has none to send, and a picture's URL is a secret itself."""
_OPEN_FILES = ("/", "/openapi.json")

_Mark = tuple[str, int, int, int, int]

log = logging.getLogger(__name__)


class Keys:
    """The keys of a file, or of the files of a folder: every line that is not empty is one.

    Without a path no keys are asked for; with one that holds no key, everything is refused.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._looked_at = clock()
        self._marks: tuple[_Mark, ...] | None = None
        self._digests: tuple[bytes, ...] = ()
        if path is not None:
            self._look(path)

    @property
    def asked(self) -> bool:
        """Whether a request must bring a key."""
        return self._path is not None

    def holder(self, key: bytes) -> bytes | None:
        """Which key this is, as the digest by which its holder is told apart; None where it is none of them."""
        now = self._clock()
        if self._path is not None and now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._look(self._path)
        presented = hashlib.sha256(key).digest()
        found = None
        for digest in self._digests:  # all of them, always: the time tells nothing
            if hmac.compare_digest(digest, presented):
                found = digest
        return found

    def _look(self, path: Path) -> None:
        """Read again where a file came, went or changed.

        NB: the kubelet replaces a Secret's files by turning the link `..data`; what a link leads to is what counts,
        and the marks are taken before the files are read, so that a turn in between is seen at the next look.
        """
        files = _files(path)
        marks = tuple(mark for file in files if (mark := _mark(file)) is not None)
        if marks == self._marks:
            return
        keys, complete = _read(files)
        digests = tuple(sorted(hashlib.sha256(key).digest() for key in keys))
        if not digests and (self._marks is None or self._digests):
            log.error("no API key can be read: every request is refused", extra={"facts": {"path": str(path)}})
        elif digests != self._digests:
            log.info("API keys read", extra={"facts": {"path": str(path), "keys": len(digests)}})
        self._digests = digests
        self._marks = marks if complete else ()


def _files(path: Path) -> list[Path]:
    """The file itself, or the files of the folder; names that begin with a dot are the kubelet's own."""
    try:
        if not path.is_dir():
            return [path]
        return sorted(file for file in path.iterdir() if not file.name.startswith(".") and file.is_file())
    except OSError:
        return []


def _mark(file: Path) -> _Mark | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return str(file), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(files: Iterable[Path]) -> tuple[set[bytes], bool]:
    """The keys, and whether every file could be read."""
    keys: set[bytes] = set()
    complete = True
    for file in files:
        try:
            with file.open("rb") as opened:
                content = opened.read(LARGEST_FILE)
        except OSError:
            complete = False
            continue
        keys.update(line.strip() for line in content.splitlines())
    return keys - {b""}, complete


class Guarded:
    """Plain ASGI: refuses a request without a valid key, before anything of its body is read.

    `scope["sdxl.holder"]` tells who asks: the digest of the key, empty where no keys are asked for.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._keys.asked or _is_open(scope["path"]):
            scope["sdxl.holder"] = b""
            await self._app(scope, receive, send)
            return
        holder = self._keys.holder(_bearer(scope))
        if holder is None:
            refusal = _refusal(any(name == b"authorization" for name, _ in scope["headers"]))
            await refusal(scope, receive, send)
            return
        scope["sdxl.holder"] = holder
        await self._app(scope, receive, send)


def _is_open(path: str) -> bool:
    return path in _OPEN_FILES or path.startswith(OPEN)


def _bearer(scope: Scope) -> bytes:
    """The key of `Authorization: Bearer`; empty, which is no key, where there is none or more than one."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1:
        return b""
    scheme, _, key = bytes(values[0]).strip().partition(b" ")
    return key.strip() if scheme.lower() == b"bearer" else b""


def _refusal(presented: bool) -> JSONResponse:
    message = (
        "the API key is not one of this service's; send Authorization: Bearer <key> with one that is"
        if presented
        else "an API key is needed; send it as Authorization: Bearer <key>"
    )
    error = APIError(401, message, "invalid_api_key")
    return JSONResponse(error.body.model_dump(), 401, {"WWW-Authenticate": "Bearer"})
