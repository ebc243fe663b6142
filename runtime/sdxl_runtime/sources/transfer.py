"""One file from a hub, gone on with where an earlier try stopped, and checked before it has its name.

The hubs' own clients list and authenticate; the bytes are loaded here. huggingface_hub 2 throws a half-loaded file away
with the process that loaded it, so that a Job which is evicted would start a UNet of 5 GB anew; and neither client
checks the files that are not in Git LFS.
"""

import os
from collections.abc import Callable
from pathlib import Path

import httpx2

from sdxl_runtime.sources.repository import Hub, RemoteFile
from sdxl_runtime.sources.retrying import Transient, Tries, judge
from sdxl_runtime.termination import Failure, Reason

_PARTIAL = ".partial"


class Wrong(Exception):
    """What the hub sends is not what it lists; the message says how."""


def partial(target: Path) -> Path:
    """Where a file is while it is loaded."""
    return target.with_name(target.name + _PARTIAL)


def present_bytes(file: RemoteFile, target: Path) -> int:
    """How much of a file is there already."""
    found = next((path for path in (target, partial(target)) if path.is_file()), None)
    return 0 if found is None else min(found.stat().st_size, file.size)


def transfer(
    client: httpx2.Client, hub: Hub, file: RemoteFile, target: Path, tries: Tries, received: Callable[[int], None]
) -> None:
    """Bring a file to `target`; `received` is called with the bytes of each part, negative where they were wrong.

    Raises:
        Failure: `SourceUnavailable`, `SourceUnauthorized`, `SourceNotFound`, or `ChecksumMismatch` where the content
            stays another than the hub lists.
        OSError: the volume is full, or fails.
    """
    if target.is_file():
        if file.matches(target):
            return
        received(-present_bytes(file, target))
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    copies = 0
    while True:
        try:
            _go_on(client, hub, file, partial(target), tries, received)
            break
        except Transient as error:
            tries.pause(error)
        except Wrong as error:
            copies += 1
            received(-present_bytes(file, target))
            partial(target).unlink(missing_ok=True)
            if copies >= tries.patience.copies:
                raise _mismatch(hub, file, error, copies) from error
            tries.pause(Transient(str(error)))
    with partial(target).open("rb") as content:
        os.fsync(content.fileno())
    partial(target).rename(target)


def _go_on(
    client: httpx2.Client, hub: Hub, file: RemoteFile, part: Path, tries: Tries, received: Callable[[int], None]
) -> None:
    have = part.stat().st_size if part.is_file() else 0
    if have < file.size or not part.is_file():
        url, headers = hub.request(file.path)
        headers = {**headers, "Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        try:
            with client.stream("GET", url, headers=headers) as response:
                _write(hub, file, response, part, have, tries, received)
        except httpx2.RequestError as error:
            raise Transient(f"{type(error).__name__} {error}".strip()) from error
    there = part.stat().st_size
    if there < file.size:
        raise Transient(f"it ended after {there} of {file.size} bytes")
    if not file.matches(part):
        raise Wrong(f"its {file.checksum} is not {file.digest}")


def _write(
    hub: Hub,
    file: RemoteFile,
    response: httpx2.Response,
    part: Path,
    have: int,
    tries: Tries,
    received: Callable[[int], None],
) -> None:
    if response.status_code == 416:
        raise Wrong(f"the hub has no bytes after {have}, and lists {file.size}")
    judge(hub, file.path, response.status_code, response.headers)
    start = have if response.status_code == 206 else 0
    _see_sizes(file, response, start)
    if start < have:
        received(-have)  # it sends all of it again
    with part.open("ab" if start else "wb") as out:
        for content in response.iter_bytes():  # as it comes: what is gathered to larger parts is lost with a connection
            if out.tell() + len(content) > file.size:
                raise Wrong(f"the hub sends more than the {file.size} bytes that it lists")
            out.write(content)
            out.flush()
            received(len(content))
            tries.bore_fruit()


def _see_sizes(file: RemoteFile, response: httpx2.Response, start: int) -> None:
    """Whether the answer is of the part that was asked for, and of as many bytes as are listed."""
    part = response.headers.get("Content-Range", "none")
    if response.status_code == 206 and not part.startswith(f"bytes {start}-"):
        raise Wrong(f"the hub was asked for the bytes from {start} on and sends {part}")
    length = response.headers.get("Content-Length", "")
    encoded = response.headers.get("Content-Encoding", "identity") != "identity"
    if length.isdigit() and not encoded and start + int(length) != file.size:
        raise Wrong(f"the hub lists {file.size} bytes and sends {start + int(length)}")


def _mismatch(hub: Hub, file: RemoteFile, error: Wrong, copies: int) -> Failure:
    return Failure(
        Reason.CHECKSUM_MISMATCH,
        f"{file.path} of {hub.repository.source} is not what the hub lists, loaded {copies} times: {error}. "
        "Where a mirror or a proxy is in between, try without it; else tell the repository's owner",
    )
