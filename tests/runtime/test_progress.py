"""What a Job says while it works."""

import json
import logging
import urllib.error
import urllib.request

import pytest

from sdxl_runtime.progress import LOG_SECONDS, WINDOW_SECONDS, Outlook, Progress, served, size


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
    assert isinstance(answer.pop("bytesPerSecond"), int)
    numbers = {"index": 1, "total": 3, "bytes": 10, "totalBytes": 0}
    assert answer == {"stage": "Exporting", "bucket": "128x128b1", **numbers}


def test_it_says_for_whom_it_waits_until_it_goes_on() -> None:
    progress = Progress()
    assert "waitsFor" not in progress.to_json()
    progress.stage("WaitingForLock")
    progress.waits_for("node-b (process 7, compile)")
    assert progress.to_json()["waitsFor"] == "node-b (process 7, compile)"
    progress.waits_for("")
    assert "waitsFor" not in progress.to_json()
    progress.waits_for("a hub")
    progress.stage("Checking")
    assert "waitsFor" not in progress.to_json(), "whoever is at the next stage has gone on"


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


class Clock:
    """Time that passes when it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_stage_is_logged_with_the_seconds_so_far_and_with_what_is_left_where_that_is_known(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    progress = Progress(clock)
    progress.begin("128x128b1", 1, 3, Outlook(("128x128b1", "160x96b1", "64x64b1")))
    progress.stage("Compiling")
    clock.now += 60
    progress.begin("160x96b1", 2, 3, Outlook(("160x96b1", "64x64b1"), 56, 15, ("128x128b1",)))
    progress.stage("Compiling")
    assert "128x128b1 (1 of 3) Compiling at 0 s" in caplog.messages
    assert "160x96b1 (2 of 3) Compiling at 60 s, about 71 s left" in caplog.messages


def test_what_is_left_of_the_buckets_becomes_less_with_time_and_says_what_it_was_reckoned_from() -> None:
    clock = Clock()
    progress = Progress(clock)
    clock.now += 60
    progress.begin("160x96b1", 2, 3, Outlook(("160x96b1", "64x64b1"), 56, 15, ("128x128b1",)))
    clock.now += 20
    answer = progress.to_json()
    assert (answer["seconds"], answer["bucketSeconds"], answer["etaSeconds"]) == (80, 20, 51)
    assert (answer["left"], answer["etaFrom"]) == (["160x96b1", "64x64b1"], ["128x128b1"])
    clock.now += 1000
    assert progress.eta_seconds == 15, "a bucket that takes longer than it should takes nothing from the ones after it"


def test_a_bucket_that_turns_out_to_be_more_work_keeps_its_begin() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.begin("128x128b1", 1, 1)
    clock.now += 5
    assert "left" not in progress.to_json()
    progress.expect(Outlook(("128x128b1",), 30, 0, ("128x128b1",)))
    assert (progress.bucket_seconds, progress.eta_seconds) == (5, 25)


def test_without_anything_measured_no_time_is_promised() -> None:
    progress = Progress(Clock())
    progress.begin("128x128b1", 1, 2, Outlook(("128x128b1", "64x64b1")))
    answer = progress.to_json()
    assert answer["left"] == ["128x128b1", "64x64b1"]
    assert not {"etaSeconds", "etaFrom"} & set(answer)


def at_speed(clock: Clock, progress: Progress, bytes_per_second: int, seconds: int) -> None:
    """So many bytes each second for a while."""
    for _ in range(seconds):
        clock.now += 1
        progress.add_bytes(bytes_per_second)


def test_a_transfer_has_a_speed_and_a_remaining_time() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.stage("Downloading")
    progress.transfer(10_000)
    assert progress.eta_seconds is None, "nothing is known of its speed"
    at_speed(clock, progress, 100, 10)
    answer = progress.to_json()
    assert (answer["bytes"], answer["totalBytes"]) == (1000, 10_000)
    assert (answer["bytesPerSecond"], answer["etaSeconds"]) == (100, 90)


def test_what_was_there_already_is_done_and_no_speed() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.transfer(10_000, 5000)
    at_speed(clock, progress, 100, 10)
    assert (progress.state.bytes, progress.bytes_per_second, progress.eta_seconds) == (6000, 100, 40)


def test_the_speed_is_that_of_the_last_seconds() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.transfer(1_000_000)
    at_speed(clock, progress, 1000, 60)
    at_speed(clock, progress, 10, int(WINDOW_SECONDS) + 2)
    assert progress.bytes_per_second < 100
    clock.now += 1000
    assert progress.bytes_per_second == 0, "a hub that hangs has no speed"
    assert progress.eta_seconds is None


def test_bytes_that_were_wrong_are_taken_back_and_do_not_slow_the_rest() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.transfer(10_000)
    at_speed(clock, progress, 100, 10)
    progress.add_bytes(-1000)
    assert progress.state.bytes == 0
    assert progress.bytes_per_second == 100
    at_speed(clock, progress, 100, 10)
    assert progress.bytes_per_second == 100


def test_a_long_transfer_draws_a_bar_into_the_log_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    progress = Progress(clock)
    progress.stage("Downloading")
    progress.transfer(6_940_000_000)
    at_speed(clock, progress, 84_000_000, 60)
    bars = [line for line in caplog.messages if "[" in line]
    assert len(bars) == 60 / LOG_SECONDS
    assert bars[-1] == "Downloading [##############------] 72 %, 5.04 GB of 6.94 GB, 84 MB/s, about 23 s left"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (12_345, "12.3 kB"),
        (999_999, "1 MB"),
        (6_938_040_706, "6.94 GB"),
        (10**13, "10000 GB"),
    ],
)
def test_sizes_are_read_by_people(count: int, text: str) -> None:
    assert size(count) == text
