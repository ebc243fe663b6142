"""A registry's repository over the OCI distribution API 1.1: pulls resume by range, pushes by upload session."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO
from urllib.parse import urlencode, urljoin, urlsplit

import httpx2

from sdxl_runtime.oci.content import DIGEST, MANIFEST, Blob, Descriptor, Done, digest_of, invalid, nobody
from sdxl_runtime.oci.session import Again, Session
from sdxl_runtime.termination import Failure, Reason

CHUNK_BYTES = 16 << 20
"""Content up to this size goes up in one request, larger in chunks of it."""


class Registry:
    """`Source` and `Target`: one repository."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def manifest(self, reference: str) -> bytes | None:
        """As `Shelf`; a digest that the registry tells must be the content's."""

        def attempt() -> bytes | None:
            path, headers = f"/manifests/{reference}", {"Accept": MANIFEST}
            response = self._session.request("GET", path, frozenset({200, 404}), headers)
            if response.status_code == 404:
                return None
            told = response.headers.get("docker-content-digest", "")
            wanted = reference if DIGEST.fullmatch(reference) else told
            found = digest_of(response.content)
            if wanted and wanted != found:
                raise invalid(f"manifest {reference} is damaged: its digest is {found}, not {wanted}")
            return response.content

        return self._session.retry(f"manifest {reference}", attempt)

    def read(self, descriptor: Descriptor) -> bytes:
        """As `Shelf`."""

        def attempt() -> bytes:
            return self._session.request("GET", f"/blobs/{descriptor.digest}", frozenset({200})).content

        return descriptor.check(self._session.retry(f"blob {descriptor.digest}", attempt))

    def fetch(self, descriptor: Descriptor, path: Path, done: Done = nobody) -> None:
        """As `Source`; goes on where a connection broke, and once from the start where the bytes were others."""
        try:
            self._fetch(descriptor, path, done)
        except Failure as failure:
            if failure.reason is not Reason.ARTIFACT_INVALID:
                raise
            path.unlink()
            self._fetch(descriptor, path, done)

    def _fetch(self, descriptor: Descriptor, path: Path, done: Done) -> None:
        path.touch()
        what = f"blob {descriptor.digest}"
        self._session.retry(what, lambda: self._append(descriptor, path, done), lambda: path.stat().st_size)
        descriptor.check_file(path)

    def _append(self, descriptor: Descriptor, path: Path, done: Done) -> None:
        have = path.stat().st_size
        if have >= descriptor.size:
            return
        headers = {"Range": f"bytes={have}-"} if have else {}
        url, expected = f"/blobs/{descriptor.digest}", frozenset({200, 206, 416})
        with self._session.stream("GET", url, expected, headers) as response, path.open("ab") as file:
            if response.status_code != 206 or not _starts_at(response, have):
                file.seek(0)
                file.truncate()  # it does not know ranges: everything comes once more
            if response.status_code == 416:
                raise Again(f"the registry has less than {have} bytes")
            for chunk in response.iter_raw():
                file.write(chunk)
                done(len(chunk))
                if file.tell() > descriptor.size:
                    raise invalid(f"{descriptor.digest} is longer than its {descriptor.size} bytes")
        if path.stat().st_size < descriptor.size:
            raise Again(f"the connection ended after {path.stat().st_size} of {descriptor.size} bytes")

    def push(self, blob: Blob) -> None:
        """As `Target`."""
        what, digest = f"upload of {blob.descriptor.digest}", blob.descriptor.digest

        def present() -> bool:
            return self._session.request("HEAD", f"/blobs/{digest}", frozenset({200, 404})).status_code == 200

        if self._session.retry(what, present):
            return
        upload = _Upload(self._session, blob)
        self._session.retry(what, upload.go_on, lambda: upload.most)

    def publish(self, content: bytes, tag: str, artifact_type: str = "") -> None:
        """As `Target`."""

        def attempt() -> None:
            headers = {"Content-Type": MANIFEST}
            answer = self._session.request("PUT", f"/manifests/{tag}", frozenset({200, 201, 202}), headers, content)
            told = answer.headers.get("docker-content-digest", "")
            if told and told != digest_of(content):
                raise invalid(f"manifest {tag} has digest {digest_of(content)}, the registry has stored {told}")

        self._session.retry(f"manifest {tag}", attempt)


class _Upload:
    """One blob on its way up; after a failure it asks the registry how far it got."""

    def __init__(self, session: Session, blob: Blob) -> None:
        self._session = session
        self._blob = blob
        self._location = ""
        self._sent = 0
        self._in_doubt = False
        self.most = 0
        """The most bytes that the registry has acknowledged."""

    def go_on(self) -> None:
        if self._in_doubt:
            self._ask()
        if not self._location:
            answer = self._session.request("POST", "/blobs/uploads/", frozenset({202}))
            self._move(answer, 0)
        self._in_doubt = True
        size = self._blob.descriptor.size
        with _opened(self._blob.content) as file:
            while size > CHUNK_BYTES and self._sent < size:
                file.seek(self._sent)
                self._patch(file.read(CHUNK_BYTES))
            file.seek(self._sent)
            self._finish(file.read() if size <= CHUNK_BYTES else b"")

    def _patch(self, chunk: bytes) -> None:
        end = self._sent + len(chunk)
        headers = {"Content-Range": f"{self._sent}-{end - 1}", "Content-Type": "application/octet-stream"}
        answer = self._session.request("PATCH", self._location, frozenset({202, 404, 416}), headers, chunk)
        if answer.status_code != 202:
            raise Again(f"PATCH of an upload is answered {answer.status_code}")
        self._move(answer, end)
        self.most = max(self.most, end)

    def _finish(self, rest: bytes) -> None:
        joint = "&" if urlsplit(self._location).query else "?"
        url = f"{self._location}{joint}{urlencode({'digest': self._blob.descriptor.digest})}"
        headers = {"Content-Type": "application/octet-stream"}
        answer = self._session.request("PUT", url, frozenset({201, 204, 400, 404, 416}), headers, rest)
        if answer.status_code >= 400:  # other bytes arrived than were sent, or the session is over
            self._location, self._in_doubt = "", False
            raise Again(f"PUT of an upload is answered {answer.status_code}")

    def _ask(self) -> None:
        """How far the registry is; where it does not tell, the upload begins anew."""
        answer = self._session.request("GET", self._location, frozenset({204, 200, 404, 405, 416}))
        _, _, last = answer.headers.get("range", "").rpartition("-")
        if answer.status_code == 204 and last.isdigit() and self._blob.descriptor.size > CHUNK_BYTES:
            # NB: registries say 0-0 of nothing, and no chunk is a single byte
            self._move(answer, int(last) + 1 if int(last) else 0)
        else:
            self._location = ""

    def _move(self, answer: httpx2.Response, sent: int) -> None:
        place: Mapping[str, str] = answer.headers
        self._location = urljoin(str(answer.request.url), place.get("location", "")) or self._location
        self._sent = sent


@contextmanager
def _opened(content: bytes | Path) -> Iterator[IO[bytes]]:
    if isinstance(content, bytes):
        yield BytesIO(content)
        return
    with content.open("rb") as file:
        yield file


def _starts_at(response: httpx2.Response, offset: int) -> bool:
    return response.headers.get("content-range", "").startswith(f"bytes {offset}-")
