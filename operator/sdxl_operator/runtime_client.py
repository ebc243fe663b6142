"""What replicas and Jobs say of themselves on their internal port; the only code that talks to the runtime."""

from collections.abc import Mapping
from typing import Any, Protocol

import aiohttp

from sdxl_operator.naming import Object

INTERNAL_PORT = 8001
TIMEOUT_SECONDS = 2.0


class Runtime(Protocol):
    """The runtime's answers; None where a pod does not answer, which is never an error."""

    async def readiness(self, pod: Mapping[str, Any]) -> Object | None:
        """The table of buckets: `GET /readyz`, 503 included."""

    async def progress(self, pod: Mapping[str, Any]) -> Object | None:
        """How far a Job is: `GET /progress`."""


class HttpRuntime:
    """The runtime over HTTP, by pod address."""

    def __init__(self, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def readiness(self, pod: Mapping[str, Any]) -> Object | None:
        """See `Runtime`."""
        return await self._get(pod, "/readyz")

    async def progress(self, pod: Mapping[str, Any]) -> Object | None:
        """See `Runtime`."""
        return await self._get(pod, "/progress")

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()

    async def _get(self, pod: Mapping[str, Any], path: str) -> Object | None:
        address = pod.get("status", {}).get("podIP")
        if not address:
            return None
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        host = f"[{address}]" if ":" in address else address
        try:
            async with self._session.get(f"http://{host}:{INTERNAL_PORT}{path}") as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
        return answer if isinstance(answer, dict) else None
