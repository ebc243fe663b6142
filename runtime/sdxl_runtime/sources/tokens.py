"""The tokens that a hub may be asked with, from a mounted Secret or a file. No message ever has one."""

import re
from pathlib import Path

from sdxl_runtime.settings import SettingsError

_TOKEN = re.compile(r"[!-~]+")


def read_tokens(path: Path | None) -> tuple[str | None, ...]:
    """The token of each file, by the files' names; one None where there is none, which asks as anybody may.

    Raises:
        SettingsError: a file cannot be read, or holds something else than a token.
    """
    if path is None:
        return (None,)
    try:
        files = sorted(file for file in path.iterdir() if not file.name.startswith(".")) if path.is_dir() else [path]
        texts = {file.name: file.read_text(errors="replace").strip() for file in files}
    except OSError as error:
        raise SettingsError(f"SDXL_MODEL_TOKEN_PATH is {str(path)!r}, which cannot be read: {error.strerror}") from None
    for name, text in texts.items():
        if text and not _TOKEN.fullmatch(text):
            raise SettingsError(f"SDXL_MODEL_TOKEN_PATH: the file {name} must hold a token, one word, and nothing else")
    return tuple(dict.fromkeys(text for text in texts.values() if text)) or (None,)
