"""A hub: a repository at one commit, by the APIs of Hugging Face and of ModelScope, with faults.

As on the hubs, files in Git LFS are on another host, which no token may reach. It speaks HTTP 1.0: no connection
outlives an answer.
"""

import hashlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "c0ffee" * 6 + "c0ff"
REPOSITORY = "team/shapes"
LIST = "its list"
"""Stands for the list of files among the paths that have faults."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer."""

    status: int = 0
    """This status instead of an answer."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """With that status."""
    cut_after: int | None = None
    """The connection ends after so many bytes of the body."""
    hang_after: int | None = None
    """Nothing comes after so many bytes of the body, and the connection stays."""
    bytes_per_second: int | None = None
    """The body comes no faster."""
    announced: bool = True
    """False: there is no Content-Length, so that an early end looks like the end."""
    flip: bool = False
    """The first byte that is sent is another."""
    drop: int = 0
    """The file is shorter by so many bytes than is listed, and the headers agree; negative: longer."""
    ignore_range: bool = False
    """The whole file comes, whatever was asked for."""
    body: bytes | None = None
    """This, with status 200."""


def git_digest(content: bytes) -> str:
    """The name of a blob in git."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class FakeHub:
    """A hub with one repository; its users are whoever has one of `tokens`, or anybody."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.commit = COMMIT
        self.tokens: set[str] = set()
        self.gated = False
        """Anybody sees the list, and only tokens see the files."""
        self.lies: dict[str, Any] = {}
        """Path → members of its entry in the list that are not true."""
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.forever: dict[str, Fault] = {}
        self.served: dict[str, int] = defaultdict(int)
        """Path → bytes of it that were sent."""
        self.asked: list[str] = []
        """Every request: host, method and path."""
        self.leaks: list[str] = []
        """Credentials that reached the other host."""
        self.release = threading.Event()
        self.endpoint = self.storage = ""

    def next_fault(self, path: str) -> Fault:
        if self.faults[path]:
            return self.faults[path].pop(0)
        return self.forever.get(path, Fault())

    def in_lfs(self, path: str) -> bool:
        return path.endswith((".safetensors", ".bin", ".onnx"))

    def may(self, headers: Mapping[str, str]) -> bool:
        """Whether whoever asks has a token, as a header or as ModelScope's cookie."""
        sent = headers.get("Authorization", "").removeprefix("Bearer ")
        cookie = headers.get("Cookie", "").removeprefix("m_session_id=")
        return not self.tokens or bool({sent, cookie} & self.tokens)

    def siblings(self) -> list[dict[str, Any]]:
        """The files as Hugging Face's model info has them."""
        found = []
        for path, content in self.files.items():
            item: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": git_digest(content)}
            if self.in_lfs(path):
                item["lfs"] = {"size": len(content), "sha256": _sha256(content), "pointerSize": 134}
            found.append(_lying(item, self.lies.get(path, {})))
        return found

    def tree(self) -> list[dict[str, Any]]:
        """The files as Hugging Face's tree has them."""
        return [
            {
                "type": "file",
                "path": item["rfilename"],
                "size": item["size"],
                "oid": item["blobId"],
                **({"lfs": {**item["lfs"], "oid": item["lfs"]["sha256"]}} if "lfs" in item else {}),
            }
            for item in self.siblings()
        ]

    def entries(self) -> list[dict[str, Any]]:
        """The files as ModelScope lists them, folders among them."""
        folders = sorted({path.rpartition("/")[0] for path in self.files} - {""})
        found = [{"Path": path, "Name": path.rpartition("/")[2], "Type": "tree", "Size": 0} for path in folders]
        for path, content in self.files.items():
            told = self.lies.get(path, {})
            digest = told.get("lfs", {}).get("sha256") or told.get("blobId") or _sha256(content)
            size = told.get("size", len(content))
            name = path.rpartition("/")[2]
            found.append({"Path": path, "Name": name, "Type": "blob", "Size": size, "Sha256": digest})
        return found


@contextmanager
def served(hub: FakeHub, host: str = "127.0.0.1", ports: tuple[int, int] = (0, 0)) -> Iterator[FakeHub]:
    """Serve the hub and its storage while the block runs; a port that is 0 is a free one.

    Where `hub.endpoint` and `hub.storage` are not set, they are the address that is listened on.
    """
    handlers = (_HubHandler, _StorageHandler)
    servers = [_Server((host, port), handler, hub) for port, handler in zip(ports, handlers, strict=True)]
    addresses = [f"http://{host}:{server.server_port}" for server in servers]
    hub.endpoint, hub.storage = hub.endpoint or addresses[0], hub.storage or addresses[1]
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        hub.release.set()
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], hub: FakeHub) -> None:
        super().__init__(address, handler)
        self.hub = hub

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    @property
    def hub(self) -> FakeHub:
        return self.server.hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        place = "hub" if isinstance(self, _HubHandler) else "storage"
        self.hub.asked.append(f"{place} {self.command} {unquote(self.path)}")
        self.route(urlsplit(self.path))

    def route(self, url: Any) -> None:
        raise NotImplementedError

    def log_message(self, format: str, *args: object) -> None:
        """The tests read `asked`."""

    def answer(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.answer(status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(value).encode())

    def broken(self, path: str) -> bool:
        """Whether the answer is a fault already; others are of the body."""
        fault = self.hub.faults[path][0] if self.hub.faults[path] else self.hub.forever.get(path, Fault())
        hangs = path == LIST and fault.hang_after is not None
        if not fault.status and fault.body is None and not hangs:
            return False
        self.hub.next_fault(path)
        if hangs:
            self.hub.release.wait(60)
        self.answer(fault.status or 200, fault.headers, fault.body or b"the hub is tired")
        return True

    def content(self, path: str) -> None:
        """A file, with what goes wrong this time."""
        if self.broken(path):
            return
        fault = self.hub.next_fault(path)
        content = self.hub.files[path]
        content = content[: len(content) - fault.drop] if fault.drop >= 0 else content + b"x" * -fault.drop
        start = 0 if fault.ignore_range else int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        if start and start >= len(content):
            self.answer(416, {"Content-Range": f"bytes */{len(content)}"})
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if fault.announced:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command != "HEAD":
            self.body(path, content[start:], fault)

    def body(self, path: str, content: bytes, fault: Fault) -> None:
        if fault.flip:
            content = bytes([content[0] ^ 1]) + content[1:]
        limits = [limit for limit in (fault.cut_after, fault.hang_after) if limit is not None]
        sent = content[: min(limits)] if limits else content
        for part in _paced(sent, fault.bytes_per_second):
            self.hub.served[path] += len(part)
            self.wfile.write(part)
            self.wfile.flush()
        if fault.hang_after is not None:
            self.hub.release.wait(60)


class _HubHandler(_Handler):
    def route(self, url: Any) -> None:
        parts = unquote(url.path).strip("/").split("/")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match parts:
            case ["api", "models", owner, name, "revision" | "tree" as kind, revision]:
                self.hugging_face(f"{owner}/{name}", revision, kind)
            case [owner, name, "resolve", revision, *path]:
                self.hugging_face(f"{owner}/{name}", revision, "/".join(path))
            case ["api", "v1", "models", owner, name, "repo", "files"]:
                self.modelscope(f"{owner}/{name}", query["Revision"], LIST)
            case ["api", "v1", "models", owner, name, "repo"]:
                self.modelscope(f"{owner}/{name}", query["Revision"], query["FilePath"])
            case _:
                self.json({"error": "no such endpoint"}, 404)

    def hugging_face(self, repository: str, revision: str, what: str) -> None:
        listing = what in ("revision", "tree")
        if not self.hub.may(self.headers) and not (self.hub.gated and listing):
            self.deny()
        elif repository != REPOSITORY:
            self.refuse(404, "RepoNotFound")
        elif revision != self.hub.commit:
            self.refuse(404, "RevisionNotFound")
        elif listing:
            if not self.broken(LIST):
                info = {"id": repository, "sha": self.hub.commit, "private": False, "siblings": self.hub.siblings()}
                self.json(info if what == "revision" else self.hub.tree())
        elif what not in self.hub.files:
            self.refuse(404, "EntryNotFound")
        else:
            self.resolve(what)

    def resolve(self, path: str) -> None:
        content = self.hub.files[path]
        commit = {"X-Repo-Commit": self.hub.commit}
        if self.hub.in_lfs(path):
            linked = {"X-Linked-ETag": f'"{_sha256(content)}"', "X-Linked-Size": str(len(content))}
            self.answer(302, {**commit, **linked, "Location": f"{self.hub.storage}/{path}"})
        elif self.command == "HEAD":
            self.send_response(200)
            for name, value in {**commit, "ETag": f'"{git_digest(content)}"', "Content-Length": len(content)}.items():
                self.send_header(name, str(value))
            self.end_headers()
        else:
            self.content(path)

    def deny(self) -> None:
        """What Hugging Face says to nobody, and to somebody whose token is not enough."""
        known = "Authorization" in self.headers
        if self.hub.gated:
            self.refuse(403 if known else 401, "GatedRepo")
        elif known:
            invalid = {"X-Error-Message": "Invalid credentials in Authorization header"}
            self.json({"error": f"no such token: {self.headers['Authorization']}"}, 401, invalid)
        else:
            self.refuse(401, "RepoNotFound")

    def refuse(self, status: int, code: str) -> None:
        said = self.headers.get("Authorization", "nobody")
        headers = {"X-Error-Code": code, "X-Error-Message": f"{code} for {said}"}  # an echo, as a careless hub gives
        self.json({"error": f"{code} for {said}"}, status, headers)

    def modelscope(self, repository: str, revision: str, path: str) -> None:
        if not self.hub.may(self.headers):
            said = self.headers.get("Authorization", "nobody")
            self.json({"Code": 10010205001, "Message": f"denied: {said}"}, 403 if said != "nobody" else 401)
        elif repository != REPOSITORY or revision != self.hub.commit:
            self.json({"Code": 10010205001, "Message": "not found", "Success": False}, 404)
        elif path == LIST:
            if not self.broken(LIST):
                self.json({"Code": 200, "Success": True, "Data": {"Files": self.hub.entries()}})
        elif path not in self.hub.files:
            self.json({"Code": 10010205001, "Message": "not found", "Success": False}, 404)
        elif self.hub.in_lfs(path):
            self.answer(302, {"Location": f"{self.hub.storage}/{path}"})
        else:
            self.content(path)


class _StorageHandler(_Handler):
    def route(self, url: Any) -> None:
        self.hub.leaks += [name for name in ("Authorization", "Cookie") if name in self.headers]
        self.content(unquote(url.path).strip("/"))


def _paced(content: bytes, bytes_per_second: int | None) -> Iterator[bytes]:
    """The content in one piece, or in a piece each tenth of a second."""
    size = bytes_per_second // 10 if bytes_per_second else max(len(content), 1)
    for start in range(0, len(content), size):
        yield content[start : start + size]
        if bytes_per_second:
            time.sleep(0.1)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _lying(item: dict[str, Any], lies: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with other sizes or digests, those of Git LFS included."""
    lfs = {"lfs": {**item["lfs"], **lies.get("lfs", {})}} if "lfs" in item else {}
    if lfs and "size" in lies:
        lfs["lfs"]["size"] = lies["size"]
    return {**item, **lies, **lfs}
