"""Pictures behind URLs: what `response_format: url` answers with, for a limited time and within a limit of memory."""

import hashlib
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response

from sdxl_runtime.app.shelf import Shelf
from sdxl_runtime.images import MEDIA_TYPES
from sdxl_runtime.signing import Claim, Kind, Signer

LIVES_SECONDS = 3600
MOST_BYTES = 256 * 1024 * 1024
MOST_PICTURES = 5000

PATH = "/v1/images/files"


@dataclass(frozen=True, slots=True)
class Picture:
    """A file as it is sent."""

    content: bytes
    media_type: str
    etag: str


class Pictures:
    """The pictures of a replica that can be fetched by URL, for one event loop."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._kept: Shelf[Picture] = Shelf(MOST_BYTES, MOST_PICTURES, LIVES_SECONDS)

    def add(self, picture: Picture) -> str:
        """Keep a picture; the path at which it can be fetched, by anybody who is given it."""
        token, claim = self._signer.issue(Kind.PICTURE, LIVES_SECONDS)
        self._kept.put(claim.id, picture, len(picture.content))
        return f"{PATH}/{token}"

    def find(self, key: bytes) -> Picture | None:
        """A picture that is still kept."""
        return self._kept.get(key)

    def awaited(self, seconds: float) -> bool:
        """Whether a picture was made within the last seconds and was not fetched yet."""
        return self._kept.awaited(seconds)


def picture_of(content: bytes, output_format: str) -> Picture:
    """The picture of a file; its digest takes milliseconds a megabyte, so not in the event loop."""
    return Picture(content, MEDIA_TYPES[output_format], f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def response(picture: Picture, claim: Claim, now: float, request: Headers) -> Response:
    """The picture, or 304 for a client that has it. It never changes, but it is nobody else's business."""
    headers = {
        "ETag": picture.etag,
        "Cache-Control": f"private, max-age={max(0, int(claim.expires_at - now))}, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    known = [tag.strip().removeprefix("W/") for tag in request.get("if-none-match", "").split(",")]
    if picture.etag in known or known == ["*"]:
        return Response(status_code=304, headers=headers)
    return Response(picture.content, media_type=picture.media_type, headers=headers)
