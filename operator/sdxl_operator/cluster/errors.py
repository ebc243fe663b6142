"""What can go wrong between the operator and the API server, told apart by what the operator does about it."""

import json
from typing import Any


class ClusterError(Exception):
    """The API server refused a call, or could not be asked."""

    def __init__(self, status: int, reason: str, message: str, fields: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(f"{reason}: {message}")
        self.status = status
        """The HTTP status; 0 where there was no answer."""
        self.reason = reason
        """The API server's word for it, e.g. `Invalid`."""
        self.message = message
        """The API server's sentence."""
        self.fields = fields
        """The causes: `(field, what is wrong with it)`."""


class Conflict(ClusterError):
    """Someone else was there first (409)."""


class Invalid(ClusterError):
    """The object cannot be as it is; trying again does not help (400, 422)."""


class Forbidden(ClusterError):
    """The operator may not do that: its RBAC, a quota or an admission policy (401, 403)."""


class NotFound(ClusterError):
    """What the call needs is not there, e.g. the namespace of an apply (404)."""


class KindNotServed(NotFound):
    """The API server does not know the kind: its CustomResourceDefinition is not installed (404)."""


class Unavailable(ClusterError):
    """The API server cannot answer now: network, 5xx, 429. Trying again is right."""

    retry_after: float | None = None
    """The seconds after which the API server wants to be asked again."""


_BY_STATUS: dict[int, type[ClusterError]] = {
    400: Invalid,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    408: Unavailable,
    409: Conflict,
    410: Unavailable,  # an expired `continue` of a list: the list begins anew
    422: Invalid,
    429: Unavailable,
}


def error_of(status: int, body: bytes, retry_after: str | None = None) -> ClusterError:
    """The error that an answer of the API server stands for."""
    answer = _status_object(body)
    details = answer.get("details") or {}
    kind = _BY_STATUS.get(status, Unavailable if status >= 500 else ClusterError)
    if status == 404 and not details.get("name"):
        # NB: only a 404 about an object names it; an unknown path gets plain text or a Status without details
        kind = KindNotServed
    causes = tuple(
        (str(cause.get("field", "")), str(cause.get("message", ""))) for cause in details.get("causes") or ()
    )
    message = answer.get("message") or body.decode(errors="replace").strip()[:500] or f"HTTP {status}"
    error = kind(status, answer.get("reason") or f"HTTP{status}", message, causes)
    if isinstance(error, Unavailable) and retry_after and retry_after.isdecimal():
        error.retry_after = float(retry_after)
    return error


def _status_object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) and answer.get("kind") == "Status" else {}
