"""API keys: who is let in, and how the keys of a mounted Secret change."""

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from sdxl_runtime.app import create_internal_app, create_public_app
from sdxl_runtime.app.keys import LOOK_SECONDS, Keys
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.serving import create_service
from sdxl_runtime.settings import Backend, Settings


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_a_look(self) -> None:
        self.now += LOOK_SECONDS


@pytest.fixture
def clock() -> Clock:
    return Clock()


def turn(secret: Path, version: str, files: dict[str, str]) -> None:
    """Change a mounted Secret as the kubelet does: a new folder, and the link `..data` turned to it at once."""
    folder = secret / f"..{version}"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content)
        if not (secret / name).is_symlink():
            (secret / name).symlink_to(Path("..data") / name)
    fresh = secret / "..data_tmp"
    fresh.symlink_to(folder.name)
    fresh.replace(secret / "..data")


def test_every_line_of_every_file_is_a_key_and_a_holder_is_told_by_its_digest(tmp_path: Path, clock: Clock) -> None:
    turn(tmp_path, "1", {"team-a": "alpha\n\n  beta \r\n", "team-b": "gamma"})
    keys = Keys(tmp_path, clock)
    for key in (b"alpha", b"beta", b"gamma"):
        assert keys.holder(key) == hashlib.sha256(key).digest()
    for key in (b"", b"alph", b"alpha ", b"alpha\n\n  beta", b"delta", b"team-a", b"\xff"):
        assert keys.holder(key) is None


def test_a_secret_that_is_turned_counts_within_a_second(tmp_path: Path, clock: Clock) -> None:
    turn(tmp_path, "1", {"key": "alpha"})
    keys = Keys(tmp_path, clock)
    turn(tmp_path, "2", {"key": "bravo"})
    clock.pass_a_look()
    assert keys.holder(b"alpha") is None
    assert keys.holder(b"bravo") is not None


def test_between_two_looks_the_files_are_left_alone(tmp_path: Path, clock: Clock) -> None:
    turn(tmp_path, "1", {"key": "alpha"})
    keys = Keys(tmp_path, clock)
    turn(tmp_path, "2", {"key": "bravo"})
    clock.now = LOOK_SECONDS * 0.99
    assert keys.holder(b"alpha") is not None
    assert keys.holder(b"bravo") is None


def test_the_same_size_at_the_same_second_is_seen_as_a_change(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "keys"
    file.write_text("alpha")
    keys = Keys(file, clock)
    assert keys.holder(b"alpha") is not None
    before = file.stat()
    fresh = tmp_path / "fresh"
    fresh.write_text("bravo")
    os.utime(fresh, ns=(before.st_atime_ns, before.st_mtime_ns))
    fresh.replace(file)
    clock.pass_a_look()
    assert keys.holder(b"alpha") is None
    assert keys.holder(b"bravo") is not None


def test_files_come_and_go(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "a").write_text("alpha")
    keys = Keys(tmp_path, clock)
    (tmp_path / "b").write_text("bravo")
    (tmp_path / "a").unlink()
    clock.pass_a_look()
    assert keys.holder(b"alpha") is None
    assert keys.holder(b"bravo") is not None


def test_the_kubelets_own_names_hold_no_keys(tmp_path: Path, clock: Clock) -> None:
    turn(tmp_path, "1", {"key": "alpha"})
    (tmp_path / ".hidden").write_text("omega")
    assert Keys(tmp_path, clock).holder(b"omega") is None


@pytest.mark.parametrize("content", [None, "", "\n  \n"])
def test_a_path_without_a_key_refuses_everybody_and_says_so(
    content: str | None, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)
    keys = Keys(file, clock)
    assert keys.asked
    assert keys.holder(b"") is None
    assert keys.holder(b"alpha") is None
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "every request is refused" in caplog.text
    file.write_text("alpha")
    clock.pass_a_look()
    assert keys.holder(b"alpha") is not None
    file.unlink()
    clock.pass_a_look()
    assert keys.holder(b"alpha") is None


def test_keys_are_never_in_the_log(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    turn(tmp_path, "1", {"key": "open-sesame"})
    keys = Keys(tmp_path, clock)
    turn(tmp_path, "2", {"key": "open-sesame\nopen-barley"})
    clock.pass_a_look()
    assert keys.holder(b"open-wheat") is None
    assert [record.getMessage() for record in caplog.records] == ["API keys read", "API keys read"]
    said = "".join(str(record.__dict__) for record in caplog.records)
    assert not any(secret in said for secret in ("sesame", "barley", "wheat"))


SETTINGS = Settings(
    backend=Backend.SIMULATED, model_name="studio", buckets=(Bucket(64, 64),), default_steps=1, simulated_milliseconds=1
)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    turn(tmp_path, "1", {"key": "alpha"})
    return tmp_path


@pytest.fixture
def guarded(secret: Path) -> Iterator[TestClient]:
    service = create_service(replace(SETTINGS, api_keys_path=secret))
    service.engine.start()
    assert service.engine.settled.wait(30)
    yield TestClient(create_public_app(service), raise_server_exceptions=False)
    service.batcher.stop()
    assert service.engine.join(30)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer beta"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic alpha"},
        {"Authorization": "alpha"},
        {"Authorization": "Bearer alpha beta"},
        {"api-key": "alpha"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/jobs/x", "/v1/images/generations", "/nowhere"])
def test_without_a_valid_key_everything_of_the_api_is_401(
    path: str, headers: dict[str, str], guarded: TestClient
) -> None:
    answer = guarded.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    error = answer.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_api_key", None)
    assert "Authorization: Bearer" in error["message"]
    assert "alpha" not in answer.text


def test_two_authorizations_are_none(guarded: TestClient) -> None:
    twice = [("Authorization", "Bearer alpha"), ("Authorization", "Bearer alpha")]
    assert guarded.get("/v1/models", headers=twice).status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_with_a_valid_key_pictures_are_painted(scheme: str, guarded: TestClient) -> None:
    headers = {"Authorization": f"{scheme} alpha"}
    assert guarded.get("/v1/models", headers=headers).status_code == 200
    assert guarded.post("/v1/images/generations", json={"prompt": "x"}, headers=headers).status_code == 200


def test_the_page_is_open_and_so_is_the_description_of_the_api(guarded: TestClient) -> None:
    for path in ("/", "/page/page.js", "/openapi.json"):
        assert guarded.get(path).status_code == 200
    assert guarded.get("/page/none").status_code == 404


def test_a_refused_request_is_counted_and_its_body_not_read(guarded: TestClient, secret: Path) -> None:
    service = create_service(replace(SETTINGS, api_keys_path=secret))
    client = TestClient(create_public_app(service))
    assert client.post("/v1/images/generations", content=b"x" * 1_000_000).status_code == 401, "not 413"
    metrics = TestClient(create_internal_app(service)).get("/metrics").text
    assert 'sdxl_requests_total{code="401"} 1.0' in metrics


def test_the_internal_port_asks_for_no_key(secret: Path) -> None:
    client = TestClient(create_internal_app(create_service(replace(SETTINGS, api_keys_path=secret))))
    assert client.get("/v1/load").status_code == 200
    assert client.get("/v1/jobs/x").status_code == 404


def test_without_a_path_nobody_needs_a_key() -> None:
    client = TestClient(create_public_app(create_service(SETTINGS)))
    assert client.get("/v1/models").status_code == 200
    assert client.get("/v1/models", headers={"Authorization": "Bearer anything"}).status_code == 200
