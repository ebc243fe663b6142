"""Content into a registry and back, whatever the connection does: every byte is checked, nothing is sent to others."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sdxl_runtime.oci import registry as registry_module
from sdxl_runtime.oci.content import Blob, Descriptor, canonical, digest_of
from sdxl_runtime.oci.names import RegistryName
from sdxl_runtime.oci.registry import Registry
from sdxl_runtime.oci.session import ATTEMPTS, LONGEST_PAUSE_SECONDS, Access, Session
from sdxl_runtime.termination import Failure, Reason
from tests.runtime.fake_registry import FakeRegistry, served

CONTENT = bytes(range(256)) * 40
BLOB = Descriptor.of(CONTENT, "application/octet-stream")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with served(FakeRegistry()) as registry:
        yield registry


class Pauses(list[float]):
    """How long was waited, without waiting."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@contextmanager
def client(fake: FakeRegistry, **options: Any) -> Iterator[Registry]:
    session = Session(RegistryName(fake.host, "team/bank"), Access(**{"pause": Pauses(), **options}))
    try:
        yield Registry(session)
    finally:
        session.close()


def fetched(fake: FakeRegistry, tmp_path: Path, descriptor: Descriptor = BLOB, **options: Any) -> bytes:
    with client(fake, **options) as registry:
        registry.fetch(descriptor, tmp_path / "blob")
    return (tmp_path / "blob").read_bytes()


def failure(fake: FakeRegistry, tmp_path: Path, **options: Any) -> Failure:
    with pytest.raises(Failure) as failed:
        fetched(fake, tmp_path, **options)
    return failed.value


def ranges(fake: FakeRegistry) -> list[str]:
    return [line.partition("bytes=")[2] for line in fake.asked if line.startswith("GET") and "/blobs/" in line]


def test_what_goes_up_comes_down(fake: FakeRegistry, tmp_path: Path) -> None:
    with client(fake) as registry:
        registry.push(Blob(BLOB, CONTENT))
    assert fake.blobs == {BLOB.digest: CONTENT}
    assert fetched(fake, tmp_path) == CONTENT


def test_content_that_is_there_is_not_sent_again(fake: FakeRegistry) -> None:
    with client(fake) as registry:
        registry.push(Blob(BLOB, CONTENT))
        registry.push(Blob(BLOB, CONTENT))
    assert [line.split()[0] for line in fake.asked] == ["HEAD", "POST", "PUT", "HEAD"]


def test_a_large_file_goes_up_in_chunks(fake: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "CHUNK_BYTES", 3000)
    (tmp_path / "file").write_bytes(CONTENT)
    with client(fake) as registry:
        registry.push(Blob(BLOB, tmp_path / "file"))
    assert fake.blobs == {BLOB.digest: CONTENT}
    assert [line.split()[0] for line in fake.asked] == ["HEAD", "POST", "PATCH", "PATCH", "PATCH", "PATCH", "PUT"]


@pytest.mark.parametrize("fault", [("PATCH", "status", 503), ("PATCH", "drop", 0), ("PUT", "drop", 0)])
def test_an_upload_that_breaks_goes_on_where_the_registry_is(
    fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch, fault: tuple[str, str, int]
) -> None:
    monkeypatch.setattr(registry_module, "CHUNK_BYTES", 3000)
    method, kind, number = fault
    fake.fails(method, "/uploads/", kind, number)
    with client(fake) as registry:
        registry.push(Blob(BLOB, CONTENT))
    assert fake.blobs == {BLOB.digest: CONTENT}
    assert sum(line.startswith("POST") for line in fake.asked) == 1


def test_an_upload_whose_answer_is_lost_is_not_sent_twice(fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "CHUNK_BYTES", 3000)
    fake.fails("PATCH", "/uploads/", "mute")
    with client(fake) as registry:
        registry.push(Blob(BLOB, CONTENT))
    assert fake.blobs == {BLOB.digest: CONTENT}
    assert sum(line.startswith("PATCH") for line in fake.asked) == 4


def test_an_upload_session_that_is_over_is_begun_anew(fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "CHUNK_BYTES", 3000)
    fake.fails("PATCH", "/uploads/", "status", 404)
    fake.fails("GET", "/uploads/", "status", 404)
    with client(fake) as registry:
        registry.push(Blob(BLOB, CONTENT))
    assert fake.blobs == {BLOB.digest: CONTENT}
    assert sum(line.startswith("POST") for line in fake.asked) == 2


def test_a_download_that_is_cut_goes_on_from_its_last_byte(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.put(CONTENT)
    fake.fails("GET", "/blobs/", "cut", 100)
    fake.fails("GET", "/blobs/", "cut", 50)
    assert fetched(fake, tmp_path) == CONTENT
    assert ranges(fake) == ["", "100-", "150-"]


def test_a_download_that_gets_further_each_time_is_never_given_up(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.put(CONTENT)
    fake.fails("GET", "/blobs/", "cut", 500, times=3 * ATTEMPTS)
    assert fetched(fake, tmp_path) == CONTENT


def test_a_registry_without_ranges_sends_everything_again(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.put(CONTENT)
    fake.knows_ranges = False
    fake.fails("GET", "/blobs/", "cut", 100)
    assert fetched(fake, tmp_path) == CONTENT


def test_a_registry_that_hangs_is_asked_again(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.put(CONTENT)
    fake.fails("GET", "/blobs/", "hang")
    assert fetched(fake, tmp_path, timeout_seconds=0.3) == CONTENT


def test_wrong_bytes_are_asked_for_once_more_and_then_refused(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.put(CONTENT)
    fake.fails("GET", "/blobs/", "flip")
    assert fetched(fake, tmp_path) == CONTENT
    (tmp_path / "blob").unlink()
    fake.fails("GET", "/blobs/", "flip", times=2)
    assert failure(fake, tmp_path).reason is Reason.ARTIFACT_INVALID


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_registry_in_trouble_is_asked_again_after_pauses_that_grow(
    fake: FakeRegistry, tmp_path: Path, status: int
) -> None:
    fake.put(CONTENT)
    fake.fails("GET", "/blobs/", "status", status, times=3)
    pauses = Pauses()
    assert fetched(fake, tmp_path, pause=pauses) == CONTENT
    assert pauses == sorted(pauses)
    assert len(set(pauses)) == 3


def test_the_pause_is_the_one_that_the_registry_asks_for_within_reason(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.put(CONTENT)
    fake.fails("GET", "/blobs/", "status", 429, Retry_After="7")
    fake.fails("GET", "/blobs/", "status", 429, Retry_After="86400")
    pauses = Pauses()
    fetched(fake, tmp_path, pause=pauses)
    assert pauses == [7, LONGEST_PAUSE_SECONDS]


def test_a_registry_that_stays_in_trouble_is_named_with_its_answer(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.fails("GET", "/blobs/", "status", 503, times=99)
    found = failure(fake, tmp_path)
    assert found.reason is Reason.REGISTRY_UNAVAILABLE
    assert f"{fake.host}: blob {BLOB.digest}" in found.message
    assert f"answered 503; tried {ATTEMPTS} times" in found.message


def test_a_registry_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with served(FakeRegistry()) as gone:
        pass
    assert failure(gone, tmp_path).reason is Reason.REGISTRY_UNAVAILABLE


def test_what_the_registry_does_not_have_is_said_in_its_words(fake: FakeRegistry, tmp_path: Path) -> None:
    assert "404 (blob unknown)" in failure(fake, tmp_path).message
    with client(fake) as registry:
        assert registry.manifest("none") is None


def test_a_manifest_must_have_the_digest_that_it_is_asked_by(fake: FakeRegistry) -> None:
    content = canonical({"schemaVersion": 2})
    with client(fake) as registry:
        fake.manifests["team/bank", "latest"] = content
        fake.manifests["team/bank", digest_of(b"another")] = content
        assert registry.manifest("latest") == content
        with pytest.raises(Failure, match="is damaged: its digest is"):
            registry.manifest(digest_of(b"another"))
        fake.fails("GET", "/manifests/", "flip")
        with pytest.raises(Failure, match="is damaged: its digest is"):
            registry.manifest("latest")


def test_small_content_is_checked_too(fake: FakeRegistry) -> None:
    fake.put(CONTENT)
    fake.fails("GET", "/blobs/", "flip")
    with client(fake) as registry, pytest.raises(Failure, match="is damaged"):
        registry.read(BLOB)


def docker_config(path: Path, host: str, **entry: str) -> Path:
    path.write_text(json.dumps({"auths": {host: entry}}))
    return path


def test_it_signs_in_with_the_credentials_of_a_docker_config(tmp_path: Path) -> None:
    with served(FakeRegistry("user", "secret")) as fake:
        auth = base64.b64encode(b"user:secret").decode()
        config = docker_config(tmp_path / "config.json", fake.host, auth=auth)
        with client(fake, config=config) as registry:
            registry.push(Blob(BLOB, CONTENT))
        assert fake.blobs == {BLOB.digest: CONTENT}
        assert sum("/token" in line for line in fake.asked) == 1


def test_it_signs_in_with_an_identity_token(tmp_path: Path) -> None:
    with served(FakeRegistry("user", "refresh-me")) as fake:
        fake.put(CONTENT)
        config = docker_config(tmp_path / "config.json", fake.host, identitytoken="refresh-me")
        assert fetched(fake, tmp_path, config=config) == CONTENT


def test_a_token_that_expires_in_the_middle_is_renewed(tmp_path: Path) -> None:
    with served(FakeRegistry("user", "secret")) as fake:
        fake.put(CONTENT)
        config = docker_config(tmp_path / "config.json", fake.host, username="user", password="secret")
        with client(fake, config=config) as registry:
            registry.read(BLOB)
            fake.tokens.clear()
            registry.read(BLOB)


@pytest.mark.parametrize(
    ("entry", "words"),
    [({}, "gives no token for team/bank: 401 (unauthorized)"), ({"username": "user", "password": "wrong"}, "401")],
)
def test_wrong_or_no_credentials_are_told_as_such(tmp_path: Path, entry: dict[str, str], words: str) -> None:
    with served(FakeRegistry("user", "secret")) as fake:
        config = docker_config(tmp_path / "config.json", fake.host, **entry)
        found = failure(fake, tmp_path, config=config)
        assert found.reason is Reason.REGISTRY_DENIED
        assert words in found.message
        assert "wrong" not in found.message


def test_a_refusal_says_whether_there_were_credentials(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.fails("GET", "/blobs/", "status", 403)
    assert "there are no credentials for it" in failure(fake, tmp_path).message


def mocked(answer: Any, access: Access | None = None, host: str = "registry.example") -> Registry:
    name = RegistryName(host, "team/bank")
    return Registry(Session(name, access or Access(pause=Pauses()), httpx2.MockTransport(answer)))


def test_credentials_go_to_nobody_else(tmp_path: Path) -> None:
    """Content may be stored elsewhere: the other host gets the request, not the token."""
    config = docker_config(tmp_path / "config.json", "registry.example", username="u", password="p")
    seen: dict[str, str] = {}

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen[request.url.host] = request.headers.get("authorization", "")
        if request.url.host == "store.example":
            return httpx2.Response(200, content=iter([CONTENT]))
        if not request.headers.get("authorization"):
            return httpx2.Response(401, headers={"www-authenticate": 'Basic realm="x"'})
        return httpx2.Response(307, headers={"location": "https://store.example/blob"})

    assert mocked(answer, Access(config)).read(BLOB) == CONTENT
    assert seen == {"registry.example": f"Basic {base64.b64encode(b'u:p').decode()}", "store.example": ""}


def test_no_password_is_sent_without_tls() -> None:
    challenge = 'Bearer realm="http://registry.example/token",service="x"'

    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.url.path != "/token"
        return httpx2.Response(401, headers={"www-authenticate": challenge})

    with pytest.raises(Failure, match="must be an https:// URL"):
        mocked(answer).read(BLOB)


@pytest.mark.parametrize(
    ("host", "plain", "base"),
    [
        ("registry.example", False, "https://registry.example/v2/team/bank"),
        ("registry.example:5000", True, "http://registry.example:5000/v2/team/bank"),
        ("localhost:5000", False, "http://localhost:5000/v2/team/bank"),
        ("[::1]:5000", False, "http://[::1]:5000/v2/team/bank"),
        ("docker.io", False, "https://registry-1.docker.io/v2/team/bank"),
    ],
)
def test_tls_is_left_out_only_on_this_machine_or_where_it_is_said(host: str, plain: bool, base: str) -> None:
    session = Session(RegistryName(host, "team/bank"), Access(plain_http=plain))
    assert session.base == base
    session.close()
