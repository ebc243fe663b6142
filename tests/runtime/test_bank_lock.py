"""One writer per volume, by a lock file with an owner and a heartbeat."""

import json
import os
import resource
import threading
import time
from pathlib import Path

import pytest

from sdxl_runtime.lock import locked
from sdxl_runtime.termination import Failure, Reason

ELSEWHERE = {"host": "node-b", "space": "another boot", "process": 7, "start": "1", "token": "t", "purpose": "compile"}


def write_lock(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**ELSEWHERE, **changes, "beat": "000000000000"}) + "\n")


def test_the_lock_names_its_owner_while_held_and_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "bank" / ".lock"
    with locked(path, "compile for a test") as held:
        owner = json.loads(path.read_text())
        assert owner["process"] == os.getpid()
        assert owner["purpose"] == "compile for a test"
        assert held.mine()
    assert not path.exists()


def test_it_is_released_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / ".lock", "test"):
        raise ZeroDivisionError
    assert not (tmp_path / ".lock").exists()


def test_a_second_writer_fails_after_its_wait_and_says_for_whom_it_waited(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    started = time.monotonic()
    with locked(path, "first"), pytest.raises(Failure) as failed, locked(path, "second", wait_seconds=0.3):
        pass
    assert failed.value.reason is Reason.BANK_LOCKED
    assert "first" in failed.value.message
    assert 0.2 < time.monotonic() - started < 5


def test_whoever_waits_tells_for_whom_and_when_it_goes_on(tmp_path: Path) -> None:
    path, told = tmp_path / ".lock", list[str]()
    write_lock(path)
    with locked(path, "next", wait_seconds=10, stale_seconds=0.3, waits_for=told.append):
        assert told == ["node-b (process 7, compile)", ""]
    with locked(path, "alone", waits_for=told.append):
        assert len(told) == 2, "who did not wait tells nothing"


def test_a_lock_that_does_not_fit_on_the_volume_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = tmp_path / "bank" / ".lock"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"), locked(path, "test"):
            pytest.fail("it was held")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not path.exists()
    with locked(path, "next", wait_seconds=0) as held:
        assert held.mine()


def test_a_second_writer_goes_on_once_the_first_is_done(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    order: list[str] = []
    first_has_it = threading.Event()

    def first() -> None:
        with locked(path, "first"):
            first_has_it.set()
            time.sleep(0.3)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    first_has_it.wait(5)
    with locked(path, "second", wait_seconds=10):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_a_dead_process_of_this_machine_is_taken_over_from_at_once(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with locked(path, "seen"):
        space = json.loads(path.read_text())["space"]
    write_lock(path, space=space, process=2**22 + 1, start="123")
    started = time.monotonic()
    with locked(path, "next", wait_seconds=5, stale_seconds=60):
        assert time.monotonic() - started < 2


def test_a_process_number_that_was_given_to_another_program_is_not_the_owner(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with locked(path, "seen"):
        space = json.loads(path.read_text())["space"]
    write_lock(path, space=space, process=os.getpid(), start="1")
    with locked(path, "next", wait_seconds=5, stale_seconds=60) as held:
        assert held.mine()


def test_an_owner_on_another_machine_is_dead_once_its_heartbeat_stands_still(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    write_lock(path)
    started = time.monotonic()
    with locked(path, "next", wait_seconds=10, stale_seconds=0.5):
        assert time.monotonic() - started >= 0.5
    assert list(tmp_path.iterdir()) == []


def test_an_owner_on_another_machine_lives_while_its_heartbeat_moves(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    stop = threading.Event()

    def beat() -> None:
        count = 0
        while not stop.wait(0.05):
            count += 1
            with path.open("r+b") as file:  # in place, as the real one: a reader never finds an empty file
                file.write(json.dumps({**ELSEWHERE, "beat": f"{count:012d}"}).encode())

    write_lock(path)
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(Failure, match="node-b"), locked(path, "next", wait_seconds=2, stale_seconds=1):
            pass
    finally:
        stop.set()
        thread.join()


def test_the_heartbeat_moves_and_keeps_the_files_length(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with locked(path, "test", heartbeat_seconds=0.02):
        before = path.read_bytes()
        deadline = time.monotonic() + 5
        while path.read_bytes() == before and time.monotonic() < deadline:
            time.sleep(0.01)
        after = path.read_bytes()
    assert after != before
    assert len(after) == len(before)


def test_an_owner_that_was_taken_over_from_knows_and_leaves_the_new_lock_alone(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with locked(path, "first", heartbeat_seconds=0.02) as held:
        write_lock(path)
        assert not held.mine()
        time.sleep(0.1)
    assert json.loads(path.read_text())["host"] == "node-b"


def test_of_many_writers_only_one_at_a_time_is_inside(tmp_path: Path) -> None:
    write_lock(tmp_path / ".lock")
    inside: list[int] = []
    most: list[int] = []

    def write(number: int) -> None:
        with locked(tmp_path / ".lock", str(number), wait_seconds=30, stale_seconds=0.4):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.02)
            inside.remove(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8


def test_a_half_written_lock_file_of_a_dead_writer_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text('{"host": "no')
    with locked(tmp_path / ".lock", "next", wait_seconds=10, stale_seconds=0.3) as held:
        assert held.mine()


def test_a_takeover_that_died_in_the_middle_stops_nobody(tmp_path: Path) -> None:
    write_lock(tmp_path / ".lock")
    (tmp_path / ".lock-takeover").touch()
    with locked(tmp_path / ".lock", "next", wait_seconds=20, stale_seconds=0.2) as held:
        assert held.mine()
    assert list(tmp_path.iterdir()) == []
