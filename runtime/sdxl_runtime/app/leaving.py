"""Sends clients that keep their connections away from a process that is about to end."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdxl_runtime.health import Health, State

_CLOSE = (b"connection", b"close")


class Leaving:
    """Plain ASGI around the public app: while the process drains, every answer ends its connection.

    Endpoints and proxies forget a replica that goes, connections that clients keep do not: their next requests would
    be refused, or lost with the process. A client that is told opens a new one, which leads to another replica.
    """

    def __init__(self, app: ASGIApp, health: Health) -> None:
        self._app = app
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start" and self._health.state is State.DRAINING:
                message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
            await send(message)

        await self._app(scope, receive, told if scope["type"] == "http" else send)
