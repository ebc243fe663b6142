"""One request to an OpenAI-compatible image endpoint, and the record of it."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx2

from sdxl_runtime.bench.record import NO_ANSWER, Record
from sdxl_runtime.bench.schedule import Planned

_PATH = "/v1/images/generations"


class Client:
    """Requests over connections that are kept. `clock` gives seconds from the start of the run."""

    def __init__(
        self,
        url: str,
        clock: Callable[[], float],
        api_key: str = "",
        timeout: float = 600,
        stream: bool = False,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = endpoint(url)
        self._clock = clock
        self._timeout = timeout
        self._stream = stream
        self._http = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=None,  # the whole request has one, below
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
            transport=transport,
        )

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._http.aclose()

    async def send(self, planned: Planned, due: float) -> Record:
        """The record of one request, whatever becomes of it; latency counts from `due`."""
        body = {**planned.body, "stream": True, "partial_images": 1, **planned.body} if self._stream else planned.body
        asked = {"size": str(body.get("size", "")), "steps": _whole(body.get("num_inference_steps"))}
        status = NO_ANSWER
        try:
            async with asyncio.timeout(self._timeout):
                async with self._http.stream("POST", self._url, json=body) as response:
                    status = response.status_code
                    found = await self._read(response, due)
        except TimeoutError:
            found = {"error": "timeout"}
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.SSEError) as error:
            found = {"error": type(error).__name__}
        except (ValueError, TypeError, KeyError) as error:  # pictures that are none, JSON that is none
            found = {"error": f"unreadable answer: {type(error).__name__}"}
        return Record(planned.index, due, self._clock(), status, **{**asked, **found})

    async def _read(self, response: httpx2.Response, due: float) -> dict[str, Any]:
        if response.status_code != 200:
            return {"error": _code(await response.aread(), response.status_code)}
        if self._stream and response.headers.get("content-type", "").startswith("text/event-stream"):
            return await self._read_stream(response, due)
        answer = json.loads(await response.aread())
        images = sum(1 for item in answer["data"] if item.get("b64_json") or item.get("url"))
        return {"images": images, **_told(answer)}

    async def _read_stream(self, response: httpx2.Response, due: float) -> dict[str, Any]:
        found: dict[str, Any] = {"error": "the stream ended without a picture", "previews": 0}
        async for event in httpx2.EventSource(response):
            answer = json.loads(event.data)
            if answer["type"] == "error":
                return {**found, "error": str(answer["error"].get("code") or answer["error"]["message"])}
            if answer["type"].endswith(".partial_image"):
                found["previews"] += 1
                found.setdefault("first_preview", self._clock() - due)
            elif answer["type"].endswith(".completed"):
                found |= {"error": "", "images": 1 if answer["b64_json"] else 0, **_told(answer)}
        return found


def endpoint(url: str) -> str:
    """Where requests go for a URL of a server, of its `/v1`, or of the endpoint itself.

    Raises:
        ValueError: it is no URL with http or https.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is no URL; write e.g. http://127.0.0.1:8000")
    base = url.rstrip("/")
    if base.endswith("/images/generations"):
        return base
    return base.removesuffix("/v1") + _PATH


def _told(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What an answer says about how it was made, beyond OpenAI's members."""
    told: dict[str, Any] = {"size": answer["size"]} if answer.get("size") else {}
    details = answer.get("sdxl")
    if isinstance(details, Mapping):
        told |= {
            "steps": int(details["num_inference_steps"]),
            "evaluations": int(details["evaluations"]["executed"]),
            "phases": {name: float(seconds) for name, seconds in details["seconds"].items()},
            "bucket": str(details["bucket"]),
        }
    return told


def _code(content: bytes, status: int) -> str:
    """The code of OpenAI's error body, else the status."""
    try:
        error = json.loads(content)["error"]
        return str(error.get("code") or error.get("type") or f"status {status}")
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"status {status}"


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
