"""The compile Job killed before each of its file operations: no reader ever sees half an entry, and the next resumes.

Each Job is a process of its own that ends without a word at the operation, as by SIGKILL; the compiler is simulated.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdxl_runtime import compiling
from sdxl_runtime.bank import Bank, Entry, Missing, State, Why, identity
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.compiling import fill
from sdxl_runtime.compiling.result import Made, SimulatedMaker
from sdxl_runtime.device import open_device
from sdxl_runtime.progress import Progress
from sdxl_runtime.reference import FILE as REFERENCE
from sdxl_runtime.settings import Backend, CompileMode, Settings

BUCKETS = (Bucket(64, 64), Bucket(96, 64, 2), Bucket(64, 96))
FILES = {"unet.pt2": b"package", "kernels/one.bin": b"kernel " * 1000}
KILLED = 9
LEAST_POINTS = 20
CHANGING = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}


class FakeCompiler(SimulatedMaker):
    """Leaves files, as a compiler does."""

    def make(self, bucket: Bucket, folder: Path, progress: Progress) -> Made:
        for name, content in FILES.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(bucket.key.encode() + content)
        return super().make(bucket, folder, progress)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(compiling, "SimulatedMaker", FakeCompiler)
    return Settings(
        backend=Backend.SIMULATED,
        buckets=BUCKETS,
        compile_mode=CompileMode.AHEAD_OF_TIME,
        bank_path=tmp_path / "bank",
        simulated_compile_seconds=0,
    )


def in_a_process(work: Callable[[], Any], root: Path, ends_before: int) -> tuple[int, int]:
    """Run in a fork that ends before its n-th change of a file below `root`; its exit code, and how many it came to."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        count = 0

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            if not _changes(event, arguments) or not str(arguments[0]).startswith(str(root)):
                return
            count += 1
            os.write(writer, b".")
            if count == ends_before:
                os._exit(KILLED)

        sys.addaudithook(watch)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    os.close(writer)
    came_to = 0
    while chunk := os.read(reader, 4096):
        came_to += len(chunk)
    os.close(reader)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), came_to


def _changes(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        flags = arguments[2] or 0
        return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in CHANGING


def what_a_reader_sees(settings: Settings) -> dict[str, Entry | Missing]:
    """Of every bucket, with its files verified."""
    assert settings.bank_path is not None
    name, _ = identity(settings, open_device(settings))
    bank = Bank(settings.bank_path, name)
    return {bucket.key: bank.entry(bucket) for bucket in settings.buckets}


def assert_complete(settings: Settings) -> None:
    for key, entry in what_a_reader_sees(settings).items():
        assert isinstance(entry, Entry), entry
        assert entry.manifest.state is State.KEPT
        assert {name: (entry.folder / name).read_bytes() for name in FILES} == {
            name: key.encode() + content for name, content in FILES.items()
        }


def assert_nothing_is_half(settings: Settings) -> None:
    for found in what_a_reader_sees(settings).values():
        if isinstance(found, Missing):
            assert found.reason is Why.MISSING, found
        else:
            assert set(found.manifest.files) == {*FILES, REFERENCE}


def test_a_job_killed_before_any_of_its_file_operations_is_resumed_and_nothing_half_is_read(
    settings: Settings, tmp_path: Path
) -> None:
    points = 0
    while True:
        root = tmp_path / f"bank-{points}"
        point = replace(settings, bank_path=root)
        code, _ = in_a_process(lambda settings=point: fill(settings, Progress()), root, points + 1)
        assert code in (0, KILLED)
        assert_nothing_is_half(point)
        if code == 0:
            break
        points += 1
        answer = fill(point, Progress())
        assert [entry["state"] for entry in answer["entries"]] == ["Kept"] * len(BUCKETS)
        assert_complete(point)
        assert not list(root.rglob(".staging-*")), "what was interrupted is swept"
    assert points >= LEAST_POINTS


def test_a_job_killed_while_it_makes_a_damaged_entry_again_leaves_a_right_one_or_none(
    settings: Settings, tmp_path: Path
) -> None:
    points = 0
    while True:
        root = tmp_path / f"bank-{points}"
        point = replace(settings, bank_path=root)
        fill(point, Progress())
        (damaged,) = root.glob("*/64x64b1/unet.pt2")
        damaged.write_bytes(b"damaged")
        code, _ = in_a_process(lambda settings=point: fill(settings, Progress()), root, points + 1)
        if code == 0:
            break
        points += 1
        seen = what_a_reader_sees(point)["64x64b1"]
        assert isinstance(seen, Missing) or (seen.folder / "unet.pt2").read_bytes() == b"64x64b1package"
        fill(point, Progress())
        assert_complete(point)
    assert_complete(point)
    assert points >= LEAST_POINTS // 2
