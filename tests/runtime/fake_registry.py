"""A registry in this process: the OCI distribution API 1.1 over HTTP, in memory, with sign-in and with faults."""

import base64
import hashlib
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Fault:
    """What goes wrong with a request that it is for."""

    method: str
    part: str
    """Of the path."""
    kind: str
    """`status`; `drop` the request, unread; `hang`; `mute`, no answer; `cut` the answer; `flip` a bit of it."""
    number: int = 0
    """The status, or after how many bytes it cuts."""
    times: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)


class FakeRegistry:
    """Blobs, manifests and upload sessions of any repository."""

    def __init__(self, user: str = "", password: str = "") -> None:
        self.user, self.password = user, password
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], bytes] = {}
        """(repository, tag or digest) → content."""
        self.uploads: dict[str, bytearray] = {}
        self.tokens: set[str] = set()
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        """`METHOD path` of every request, and its range."""
        self.knows_ranges = True
        self.released = threading.Event()
        """Set when the test is over: what hangs goes on."""
        self.host = ""

    def fails(self, method: str, part: str, kind: str, number: int = 0, times: int = 1, **headers: str) -> None:
        """Let the next requests fail."""
        self.faults.append(Fault(method, part, kind, number, times, headers))

    def fault(self, method: str, path: str) -> Fault | None:
        """The fault that a request meets."""
        for fault in self.faults:
            if fault.times and fault.method == method and fault.part in path:
                fault.times -= 1
                return fault
        return None

    def put(self, content: bytes) -> str:
        """Store a blob as somebody else."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[digest] = content
        return digest


@contextmanager
def served(registry: FakeRegistry) -> Iterator[FakeRegistry]:
    """The registry at `registry.host`, a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(registry))
    server.daemon_threads = True
    registry.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        registry.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


Route = Callable[["_Handler", str, str], None]


class _Handler(BaseHTTPRequestHandler):
    registry: FakeRegistry
    protocol_version = "HTTP/1.1"
    fault: Fault | None = None

    def log_message(self, format: str, *args: object) -> None:
        """The test's own output is enough."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        content, cut = body, None
        if self.fault is not None and self.fault.kind == "mute":
            self.close_connection = True
            return
        if self.fault is not None and self.fault.kind == "flip" and body:
            content = bytes([body[0] ^ 1, *body[1:]])
        if self.fault is not None and self.fault.kind == "cut":
            cut = self.fault.number
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:cut])
        self.close_connection = self.close_connection or cut is not None

    def error(self, status: int, code: str) -> None:
        body = json.dumps({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}).encode()
        self.answer(status, body, Content_Type="application/json")

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        ranges = self.headers.get("Range", "")
        self.registry.asked.append(f"{self.command} {url.path} {ranges}".strip())
        self.fault = self.registry.fault(self.command, url.path)
        if self.fault is not None and self._broken(self.fault):
            return None
        if url.path == "/token":
            return self.token()
        if self.registry.user and self.headers.get("Authorization", "")[7:] not in self.registry.tokens:
            self.body()
            realm = f'Bearer realm="http://{self.registry.host}/token",service="fake",scope="repository:any:pull,push"'
            return self.answer(401, b"{}", WWW_Authenticate=realm)
        for pattern, route in ROUTES:
            if found := re.fullmatch(pattern, url.path):
                return route(self, found[1], found[2])
        self.body()
        return self.error(404, "UNSUPPORTED")

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = handle_any  # noqa: N815 - the names that http.server calls

    def _broken(self, fault: Fault) -> bool:
        """Whether the request got no further."""
        if fault.kind == "drop":
            self.close_connection = True
            return True
        if fault.kind == "hang":
            self.registry.released.wait(30)
            self.close_connection = True
            return True
        if fault.kind == "status":
            self.body()
            self.answer(fault.number, b"{}", **fault.headers)
            return True
        return False

    def token(self) -> None:
        wanted = base64.b64encode(f"{self.registry.user}:{self.registry.password}".encode()).decode()
        form = parse_qs(self.body().decode())
        refreshed = form.get("refresh_token") == [self.registry.password]
        if self.headers.get("Authorization") != f"Basic {wanted}" and not refreshed:
            return self.error(401, "UNAUTHORIZED")
        token = secrets.token_hex(8)
        self.registry.tokens.add(token)
        name = "access_token" if refreshed else "token"
        return self.answer(200, json.dumps({name: token}).encode(), Content_Type="application/json")

    def blob(self, repository: str, digest: str) -> None:
        self.body()
        content = self.registry.blobs.get(digest)
        if content is None:
            return self.error(404, "BLOB_UNKNOWN")
        begin = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if begin is None or not self.registry.knows_ranges:
            return self.answer(200, content, Docker_Content_Digest=digest)
        first = int(begin[1])
        if first >= len(content):
            return self.error(416, "RANGE")
        span = f"bytes {first}-{len(content) - 1}/{len(content)}"
        return self.answer(206, content[first:], Content_Range=span)

    def manifest(self, repository: str, reference: str) -> None:
        content = self.body()
        if self.command == "PUT":
            return self.store(repository, reference, content)
        found = self.registry.manifests.get((repository, reference))
        if found is None:
            return self.error(404, "MANIFEST_UNKNOWN")
        digest = f"sha256:{hashlib.sha256(found).hexdigest()}"
        return self.answer(200, found, Content_Type=MANIFEST, Docker_Content_Digest=digest)

    def store(self, repository: str, reference: str, content: bytes) -> None:
        item = json.loads(content)
        if any(one["digest"] not in self.registry.blobs for one in (item["config"], *item["layers"])):
            return self.error(404, "MANIFEST_BLOB_UNKNOWN")
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        for name in (reference, digest):
            self.registry.manifests[repository, name] = content
        return self.answer(201, Docker_Content_Digest=digest, Location=f"/v2/{repository}/manifests/{digest}")

    def begin(self, repository: str, _: str) -> None:
        self.body()
        session = secrets.token_hex(8)
        self.registry.uploads[session] = bytearray()
        self.answer(202, Location=f"/v2/{repository}/blobs/uploads/{session}?state=x", Range="0-0")

    def upload(self, repository: str, session: str) -> None:
        content, held = self.body(), self.registry.uploads.get(session)
        if held is None:
            return self.error(404, "BLOB_UPLOAD_UNKNOWN")
        place = {"Location": f"/v2/{repository}/blobs/uploads/{session}?state=x"}
        if self.command == "PATCH":
            if not self.headers["Content-Range"].startswith(f"{len(held)}-"):
                return self.error(416, "RANGE")
            held += content
        if self.command == "PUT":
            digest = parse_qs(urlsplit(self.path).query)["digest"][0]
            if f"sha256:{hashlib.sha256(held + content).hexdigest()}" != digest:
                return self.error(400, "DIGEST_INVALID")
            self.registry.blobs[digest] = bytes(held + content)
            del self.registry.uploads[session]
            return self.answer(201, Location=f"/v2/{repository}/blobs/{digest}")
        return self.answer(202 if self.command == "PATCH" else 204, Range=f"0-{max(len(held) - 1, 0)}", **place)


ROUTES: tuple[tuple[str, Route], ...] = (
    (r"/v2/(.+)/blobs/uploads/()", _Handler.begin),
    (r"/v2/(.+)/blobs/uploads/([0-9a-f]+)", _Handler.upload),
    (r"/v2/(.+)/blobs/(sha256:[0-9a-f]{64})", _Handler.blob),
    (r"/v2/(.+)/manifests/([^/]+)", _Handler.manifest),
)


def handler(registry: FakeRegistry) -> type[_Handler]:
    """The handler of one registry."""
    return type("Handler", (_Handler,), {"registry": registry})
