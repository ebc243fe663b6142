"""How commands end: exit codes, classified reasons, and a message the kubelet does not cut."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sdxl_runtime.settings import SettingsError
from sdxl_runtime.termination import Failure, Reason, Stopped, classify, finish, run


class OutOfMemoryError(RuntimeError):
    """As torch's, by name."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), Reason.VOLUME_FULL),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), Reason.VOLUME_FULL),
        (RuntimeError("C++ compile error: /tmp/x.o: No space left on device"), Reason.VOLUME_FULL),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), Reason.OUT_OF_MEMORY),
        (MemoryError(), Reason.OUT_OF_MEMORY),
        (OutOfMemoryError("CUDA"), Reason.OUT_OF_MEMORY),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), Reason.OUT_OF_MEMORY),
        (RuntimeError("g++: fatal error: Killed signal terminated program cc1plus"), Reason.OUT_OF_MEMORY),
        (SettingsError("SDXL_X is wrong"), Reason.INVALID_SETTINGS),
        (Failure(Reason.MODEL_MISSING, "none"), Reason.MODEL_MISSING),
        (PermissionError(errno.EACCES, "denied"), Reason.INTERNAL),
        (ValueError("x"), Reason.INTERNAL),
    ],
)
def test_an_error_has_a_reason(error: Exception, reason: Reason) -> None:
    assert classify(error).reason is reason


def test_the_cause_decides_where_a_library_wrapped_it() -> None:
    def write() -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("the package was not written") from error

    with pytest.raises(RuntimeError) as wrapped:
        write()
    assert classify(wrapped.value).reason is Reason.VOLUME_FULL


def test_the_bucket_is_kept_where_the_failure_named_none() -> None:
    assert classify(ValueError("x"), "64x64b1").bucket == "64x64b1"
    assert classify(Failure(Reason.INTERNAL, "x", "32x32b1"), "64x64b1").bucket == "32x32b1"


def test_an_unknown_error_ends_with_the_last_line_of_its_traceback(tmp_path: Path) -> None:
    def work() -> Mapping[str, Any]:
        raise KeyError("shape")

    assert run(tmp_path / "log", work) == 1
    assert json.loads((tmp_path / "log").read_text()) == {
        "error": {"reason": "Internal", "message": "KeyError: 'shape'", "bucket": ""}
    }


def test_success_leaves_one_compact_line_and_zero(tmp_path: Path) -> None:
    assert run(tmp_path / "log", lambda: {"seconds": 2}) == 0
    assert (tmp_path / "log").read_text() == '{"seconds":2}'


def test_wrong_settings_are_exit_code_two(tmp_path: Path) -> None:
    def work() -> Mapping[str, Any]:
        raise SettingsError("SDXL_BUCKETS is empty")

    assert run(tmp_path / "log", work) == 2
    assert "SDXL_BUCKETS is empty" in (tmp_path / "log").read_text()


def test_a_log_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    assert run(tmp_path / "no" / "such" / "folder", dict) == 0


def entries(count: int) -> list[dict[str, Any]]:
    entry = {"digest": "sha256:" + "0" * 64, "why": "it runs at 90 % of eager's speed" * 5, "speedupPercent": 90}
    return [{"bucket": f"{32 * i}x1024b1", "state": "Dropped", **entry} for i in range(1, count + 1)]


def test_thirty_buckets_fit_into_the_message_with_what_the_operator_needs(tmp_path: Path) -> None:
    finish(tmp_path / "log", {"identity": "0" * 16, "entries": entries(30), "seconds": 1})
    content = (tmp_path / "log").read_bytes()
    assert len(content) <= 4096
    read = json.loads(content)["entries"]
    assert len(read) == 30
    assert read[29] == {"bucket": "960x1024b1", "state": "Dropped", "digest": "sha256:" + "0" * 64}


def test_what_does_not_fit_is_counted_and_the_message_stays_json(tmp_path: Path) -> None:
    finish(tmp_path / "log", {"identity": "0" * 16, "entries": entries(200), "seconds": 1})
    content = (tmp_path / "log").read_bytes()
    assert len(content) <= 4096
    read = json.loads(content)
    assert read["leftOut"] + len(read["entries"]) == 200
    assert len(read["entries"]) >= 30


def test_sigterm_ends_with_143_and_the_work_can_clean_up(tmp_path: Path) -> None:
    program = f"""
import time
from pathlib import Path
from sdxl_runtime.termination import run
def work():
    try:
        Path({str(tmp_path / "started")!r}).touch()
        time.sleep(60)
    except Exception:
        Path({str(tmp_path / "swallowed")!r}).touch()
    finally:
        Path({str(tmp_path / "cleaned")!r}).touch()
    return {{}}
raise SystemExit(run(Path({str(tmp_path / "log")!r}), work))
"""
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    while not (tmp_path / "started").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert (tmp_path / "cleaned").exists()
    assert not (tmp_path / "swallowed").exists()
    assert not (tmp_path / "log").exists()


def test_the_signal_handler_is_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run(tmp_path / "log", dict)
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_in_this_process_is_143(tmp_path: Path) -> None:
    def work() -> Mapping[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass
        raise AssertionError("the signal did not arrive")

    assert run(tmp_path / "log", work) == 143
    assert not issubclass(Stopped, Exception)
