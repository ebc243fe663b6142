"""What a Job says while it works."""

import json
import logging
import time
import urllib.error
import urllib.request

import pytest

from sdxl_runtime.progress import Progress, served


def read(port: int, path: str = "/progress") -> dict[str, object]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        content: dict[str, object] = json.load(answer)
    return content


def test_it_answers_with_the_present_stage() -> None:
    progress = Progress()
    with served(progress, "127.0.0.1", 0) as port:
        assert read(port)["stage"] == "Starting"
        progress.begin("128x128b1", 1, 3)
        progress.stage("Exporting")
        progress.add_bytes(10)
        answer = read(port)
    assert isinstance(answer.pop("seconds"), float)
    assert answer == {"stage": "Exporting", "bucket": "128x128b1", "index": 1, "total": 3, "bytes": 10}


def test_another_path_is_not_found() -> None:
    with served(Progress(), "127.0.0.1", 0) as port, pytest.raises(urllib.error.HTTPError) as error:
        read(port, "/metrics")
    assert error.value.code == 404
    error.value.close()


def test_the_port_is_free_again_afterwards() -> None:
    with served(Progress(), "127.0.0.1", 0) as port:
        pass
    with served(Progress(), "127.0.0.1", port) as again:
        assert again == port


def test_a_port_that_is_taken_does_not_stop_the_work(caplog: pytest.LogCaptureFixture) -> None:
    with served(Progress(), "127.0.0.1", 0) as port, served(Progress(), "127.0.0.1", port) as second:
        assert second == 0
    assert f"no progress on port {port}" in caplog.text


def test_a_stage_is_logged_with_seconds_and_from_the_second_bucket_on_with_what_is_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    progress = Progress()
    progress.begin("128x128b1", 1, 3)
    progress.stage("Compiling")
    progress.started = time.monotonic() - 60
    progress.begin("160x96b1", 2, 3)
    progress.stage("Compiling")
    assert "128x128b1 (1 of 3) Compiling at 0 s" in caplog.messages
    assert "160x96b1 (2 of 3) Compiling at 60 s, about 120 s left" in caplog.messages
