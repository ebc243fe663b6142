"""HTTP with one registry: signs in when the registry asks, and tries again what may succeed then.

Sign-in is the token flow of the distribution project (docs/spec/auth/token.md), or Basic where that is asked for.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2

from sdxl_runtime import __version__
from sdxl_runtime.oci.content import MANIFEST_LIMIT
from sdxl_runtime.oci.credentials import Credentials, find
from sdxl_runtime.oci.names import RegistryName
from sdxl_runtime.termination import Failure, Reason

T = TypeVar("T")
ATTEMPTS = 6
"""Tries in a row that bring nothing; one that brings bytes starts the count anew."""
LONGEST_PAUSE_SECONDS = 30.0
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Access:
    """How registries are reached."""

    config: Path | None = None
    """Credentials: a file like Docker's config.json, or a folder of such files."""
    plain_http: bool = False
    """Whether registries that are not on this machine may be asked without TLS."""
    timeout_seconds: float = 30
    """How long a connection may be silent."""
    pause: Callable[[float], None] = time.sleep
    """Waits so many seconds."""


class Again(Exception):
    """An answer after which the same may succeed later; `after` is what the registry asks to wait, in seconds."""

    def __init__(self, message: str, after: float = 0) -> None:
        super().__init__(message)
        self.after = after


class Session:
    """Requests for one repository. Close it, or use it as a context manager."""

    def __init__(self, name: RegistryName, access: Access, transport: httpx2.BaseTransport | None = None) -> None:
        self.name = name
        self._access = access
        self._plain = access.plain_http or name.is_loopback
        self._credentials = find(access.config, name.host, name.repository)
        host = "registry-1.docker.io" if name.host == "docker.io" else name.host
        self.base = f"{'http' if self._plain else 'https'}://{host}/v2/{name.repository}"
        self._host = host
        self._authorization = ""
        self._client = httpx2.Client(
            timeout=httpx2.Timeout(access.timeout_seconds, connect=min(10.0, access.timeout_seconds)),
            follow_redirects=True,
            headers={"User-Agent": f"sdxl-runtime/{__version__}", "Accept-Encoding": "identity"},
            transport=transport,
        )

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    @contextmanager
    def stream(
        self,
        method: str,
        url: str,
        expected: frozenset[int],
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Iterator[httpx2.Response]:
        """One request, its answer's body unread; `url` is whole, or begins with `/` below the repository's.

        Raises:
            Again: an answer after which the same may succeed later.
            httpx2.TransportError: no answer; `retry` knows both.
            Failure: `RegistryDenied`, any other answer that is not `expected`.
        """
        whole = f"{self.base}{url}" if url.startswith("/") else url
        response = self._send(method, whole, headers, content)
        if response.status_code == 401 and self._is_own(whole):
            challenge = response.headers.get("www-authenticate", "")
            response.close()
            self._sign_in(challenge)
            response = self._send(method, whole, headers, content)
        try:
            self._judge(response, method, expected)
            yield response
        finally:
            response.close()

    def request(
        self,
        method: str,
        url: str,
        expected: frozenset[int],
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx2.Response:
        """One request with its answer's body, at most `MANIFEST_LIMIT` bytes of it; raises as `stream` does."""
        with self.stream(method, url, expected, headers, content) as response:
            body = b""
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > MANIFEST_LIMIT:
                    raise Failure(Reason.ARTIFACT_INVALID, f"{self.name.host} answers more than {MANIFEST_LIMIT} bytes")
            return httpx2.Response(
                response.status_code, headers=_without_length(response), content=body, request=response.request
            )

    def retry(self, what: str, attempt: Callable[[], T], reached: Callable[[], int] = lambda: 0) -> T:
        """Try until it succeeds; `reached` tells how far it is, and whoever gets further may try again.

        Raises:
            Failure: `RegistryUnavailable`, several tries in a row brought nothing.
        """
        failed, best = 0, reached()
        while True:
            try:
                return attempt()
            except (Again, httpx2.TransportError) as error:
                now = reached()
                failed, best = (1, now) if now > best else (failed + 1, best)
                if failed >= ATTEMPTS:
                    text = f"{self.name.host}: {what}: {str(error) or type(error).__name__}; tried {failed} times"
                    raise Failure(Reason.REGISTRY_UNAVAILABLE, text) from error
                asked = error.after if isinstance(error, Again) else 0
                self._access.pause(min(max(asked, 0.5 * 2 ** (failed - 1)), LONGEST_PAUSE_SECONDS))

    def _send(self, method: str, url: str, headers: Mapping[str, str] | None, content: bytes | None) -> httpx2.Response:
        own = {"Authorization": self._authorization} if self._authorization and self._is_own(url) else {}
        request = self._client.build_request(method, url, headers={**(headers or {}), **own}, content=content)
        return self._client.send(request, stream=True)

    def _is_own(self, url: str) -> bool:
        """Whether the registry itself is asked: its credentials are for nobody else."""
        return urlsplit(url).netloc == self._host

    def _judge(self, response: httpx2.Response, method: str, expected: frozenset[int]) -> None:
        status = response.status_code
        if status in expected:
            return
        what = f"{method} of {response.request.url.path} is answered {status}{_words(response)}"
        if status in RETRIED:
            raise Again(what, _seconds(response.headers.get("retry-after", "")))
        if status in (401, 403):
            known = "the credentials for it do not suffice" if self._credentials else "there are no credentials for it"
            raise Failure(Reason.REGISTRY_DENIED, f"{self.name.host}: {what}; {known} (SDXL_REGISTRY_CONFIG)")
        raise Failure(Reason.REGISTRY_DENIED, f"{self.name.host}: {what}")

    def _sign_in(self, challenge: str) -> None:
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self._credentials is not None:
            self._authorization = self._credentials.basic
        elif scheme.lower() == "bearer":
            self._authorization = f"Bearer {self._token(dict(_PARAMETER.findall(rest)))}"

    def _token(self, asked: Mapping[str, str]) -> str:
        realm = asked.get("realm", "")
        if not realm.startswith(("https://", "http://") if self._plain else "https://"):
            text = f"{self.name.host} sends to {realm!r} for a token; it must be an https:// URL"
            raise Failure(Reason.REGISTRY_DENIED, text)
        query = {name: asked[name] for name in ("service", "scope") if name in asked}
        response = self._ask_for_token(realm, query, self._credentials)
        if response.status_code in RETRIED:
            raise Again(f"{realm} answers {response.status_code}", _seconds(response.headers.get("retry-after", "")))
        try:
            answer = response.raise_for_status().json()
            return str(answer.get("token") or answer["access_token"])
        except (httpx2.HTTPStatusError, ValueError, KeyError, AttributeError):
            text = f"{realm} gives no token for {self.name.repository}: {response.status_code}{_words(response)}"
            raise Failure(Reason.REGISTRY_DENIED, text) from None

    def _ask_for_token(self, realm: str, query: dict[str, str], known: Credentials | None) -> httpx2.Response:
        if known is not None and known.identity_token:
            form = {**query, "grant_type": "refresh_token", "client_id": "sdxl-runtime"}
            return self._client.post(realm, data={**form, "refresh_token": known.identity_token})
        headers = {"Authorization": known.basic} if known is not None else {}
        return self._client.get(realm, params=query, headers=headers)


def _without_length(response: httpx2.Response) -> list[tuple[str, str]]:
    skipped = ("content-length", "transfer-encoding", "content-encoding")
    return [(name, value) for name, value in response.headers.multi_items() if name.lower() not in skipped]


def _seconds(text: str) -> float:
    return float(text) if text.isdigit() else 0.0


def _words(response: httpx2.Response) -> str:
    """What the registry says of an error, as the specification has it; empty where it says nothing."""
    try:
        errors: Any = json.loads(_beginning(response)).get("errors", [])
        said = [str(error.get("message") or error.get("code") or "") for error in errors]
    except (ValueError, AttributeError, TypeError, httpx2.TransportError):
        return ""
    return f" ({'; '.join(text for text in said if text)})" if any(said) else ""


def _beginning(response: httpx2.Response) -> bytes:
    try:
        return response.content[:4096]
    except httpx2.ResponseNotRead:
        return next(response.iter_raw(4096), b"")
