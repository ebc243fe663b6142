"""Two request headers: `Prefer: respond-async` (RFC 7240) and `Idempotency-Key` (the IETF's draft)."""

import re

from starlette.datastructures import Headers

from sdxl_runtime.admission import shorten
from sdxl_runtime.app.errors import APIError

LONGEST_KEY = 255
_PRINTABLE = re.compile(r"[ -~]+")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')


def responds_async(headers: Headers) -> bool:
    """Whether the client prefers to be told where the result will be. Preferences that are not known do not count."""
    preferences = ",".join(headers.getlist("prefer")).split(",")
    return any(preference.partition(";")[0].strip().lower() == "respond-async" for preference in preferences)


def idempotency_key(headers: Headers) -> str | None:
    """The key by which a repeated request is known, if there is one.

    The draft has it as a quoted string; most clients send it bare. `"a"` and `a` are the same key.

    Raises:
        APIError: 400, there are several, or it is not printable ASCII of at most 255 characters.
    """
    values = headers.getlist("idempotency-key")
    if not values:
        return None
    if len(values) > 1:
        raise _wrong(f"Idempotency-Key is sent {len(values)} times; send it once")
    value = values[0].strip()
    if value.startswith('"'):
        quoted = _QUOTED.fullmatch(value)
        if quoted is None:
            raise _wrong(f'Idempotency-Key is {shorten(value)}; quoted, it must be a string like "8e03978e-40d5"')
        value = re.sub(r"\\(.)", r"\1", quoted[1])
    if len(value) > LONGEST_KEY:
        raise _wrong(f"Idempotency-Key has {len(value)} characters; at most {LONGEST_KEY} are taken")
    if not _PRINTABLE.fullmatch(value):
        raise _wrong(f"Idempotency-Key is {shorten(value)}; it must be 1 to {LONGEST_KEY} printable ASCII characters")
    return value


def _wrong(message: str) -> APIError:
    return APIError(400, message, "invalid_idempotency_key")
