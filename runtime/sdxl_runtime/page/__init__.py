"""The page at `/` to try prompts: its files, their media types, and the policy that keeps it to its own server.

`page.js` is where it begins. It needs no build step and asks no other host for anything.
"""

from importlib.resources import files
from pathlib import PurePath

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy it is served with."""

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def names() -> set[str]:
    """The files the page consists of; `index.html` is the page itself."""
    return {file.name for file in files(__name__).iterdir() if PurePath(file.name).suffix in _TYPES}


def read(name: str) -> tuple[bytes, str]:
    """The content and the media type of one of the page's files.

    Raises:
        KeyError: there is no such file.
    """
    if name not in names():
        raise KeyError(name)
    return (files(__name__) / name).read_bytes(), _TYPES[PurePath(name).suffix]
