"""A replica that is asked for what another one has asks that one, at the address that the signed id carries."""

from collections.abc import Mapping

import httpx2
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdxl_runtime.app.errors import APIError

OWNER_HEADER = "SDXL-Owner"
"""On every answer of the internal port: who answers. Without it, something else has moved into the address."""
_TIMEOUT = httpx2.Timeout(10.0, connect=1.0)
"""Seconds without a byte; an owner answers from memory."""
_MOST_CONNECTIONS = 64
_ASKED = ("if-none-match",)
_ANSWERED = ("content-type", "content-length", "etag", "cache-control", "x-content-type-options", "retry-after")


class Forwarder:
    """The connections to other replicas, for one event loop.

    NB: only ever given owners of tokens whose signature was verified: a client cannot make it call an address.
    """

    def __init__(self) -> None:
        self._client: httpx2.AsyncClient | None = None

    async def forward(self, method: str, owner: str, path: str, headers: Mapping[str, str]) -> Response:
        """The owner's answer to the same request, streamed through.

        Raises:
            APIError: 410, the owner cannot be reached or is another process by now; 503, it did not answer.
        """
        client = self._open()
        passed = {name: headers[name] for name in _ASKED if name in headers}
        request = client.build_request(method, f"http://{owner}{path}", headers=passed)
        try:
            answer = await client.send(request, stream=True)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            raise gone() from None
        except httpx2.TransportError:
            raise APIError(
                503, "the replica that holds this did not answer", "service_unavailable", retry_after=1
            ) from None
        if answer.headers.get(OWNER_HEADER) != owner:
            await answer.aclose()
            raise gone()
        return _Passed(answer)

    async def close(self) -> None:
        """Close what is open."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _open(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                timeout=_TIMEOUT,
                # No connection is kept: one to a replica that went away would look like a failed answer.
                limits=httpx2.Limits(max_connections=_MOST_CONNECTIONS, max_keepalive_connections=0),
                headers={"Accept-Encoding": "identity", "User-Agent": "sdxl-runtime"},
                follow_redirects=False,
                trust_env=False,  # the pod's proxy settings are for the world outside
            )
        return self._client


class Named:
    """Plain ASGI around the internal port: every answer says whose it is."""

    def __init__(self, app: ASGIApp, owner: str) -> None:
        self._app = app
        self._header = (OWNER_HEADER.lower().encode(), owner.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], self._header]}
            await send(message)

        await self._app(scope, receive, named)


class _Passed(StreamingResponse):
    """The owner's answer as it comes; its connection is closed whatever becomes of the client's."""

    def __init__(self, answer: httpx2.Response) -> None:
        self._answer = answer
        headers = {name: answer.headers[name] for name in _ANSWERED if name in answer.headers}
        super().__init__(answer.aiter_raw(), answer.status_code, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._answer.aclose()


def gone() -> APIError:
    """410 for what a replica held that is no more."""
    return APIError(410, "the replica that held this is gone, and what it held with it; ask anew", "gone")
