"""The Job: makes what is missing, keeps what is faster and unchanged, and can be stopped at any instant."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdxl_runtime import compiling
from sdxl_runtime.bank import Bank, Entry, State, identity
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.compiling.result import Made, SimulatedMaker, Times
from sdxl_runtime.device.simulated import SimulatedDevice
from sdxl_runtime.progress import Progress
from sdxl_runtime.reference import FILE, PICTURES, Difference, Reference, Tolerance, read, record
from sdxl_runtime.settings import Backend, CompileMode, Settings
from sdxl_runtime.termination import Failure, Reason

BUCKETS = (Bucket(128, 128, 1), Bucket(160, 96, 1), Bucket(128, 128, 4))
SAME = Difference(0.0, math.inf)
MADE = Made(Times(21.0, 20.0), Times(16.0, 15.0), Difference(1e-5, 120), Tolerance(0.01, 60), {"compile": 1.0})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        backend=Backend.SIMULATED,
        buckets=BUCKETS,
        compile_mode=CompileMode.AHEAD_OF_TIME,
        bank_path=tmp_path / "bank",
        simulated_compile_seconds=0,
        host="127.0.0.1",
        internal_port=0,
        termination_log=tmp_path / "termination-log",
    )


class Scripted:
    """A maker that writes a small file and answers with what the test says, or raises it."""

    def __init__(self, made: Made | Exception = MADE) -> None:
        self.made = made
        self.asked: list[str] = []
        self.compared: list[str] = []
        self.found: Difference | Exception = SAME

    def make(self, bucket: Bucket, folder: Path, progress: Progress) -> Made:
        self.asked.append(bucket.key)
        (folder / "unet.pt2").write_bytes(f"package of {bucket.key}".encode())
        if isinstance(self.made, Exception):
            raise self.made
        latents = np.zeros((bucket.batch, 4, 2, 2), dtype=np.float32)
        return replace(self.made, reference=record(folder, PICTURES, latents))

    def compare(self, bucket: Bucket, folder: Path, reference: Reference) -> Difference:
        assert reference.latents.shape == (bucket.batch, 4, 2, 2)
        self.compared.append(bucket.key)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    maker = Scripted()
    monkeypatch.setattr(compiling, "SimulatedMaker", lambda seconds: maker)
    return maker


def message(settings: Settings) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(settings.termination_log.read_text())
    return content


def bank(settings: Settings) -> Bank:
    assert settings.bank_path is not None
    return Bank(settings.bank_path, identity(settings, SimulatedDevice())[0])


def entry(settings: Settings, bucket: Bucket = BUCKETS[0]) -> Entry:
    found = bank(settings).entry(bucket)
    assert isinstance(found, Entry), found
    return found


def test_every_bucket_is_published_and_reported(settings: Settings, scripted: Scripted) -> None:
    assert compiling.main(settings) == 0
    written = message(settings)
    assert written["identity"] == bank(settings).folder.name
    assert [line["bucket"] for line in written["entries"]] == [bucket.key for bucket in BUCKETS]
    assert written["entries"][0] == {
        "bucket": "128x128b1",
        "state": "Kept",
        "digest": entry(settings).digest,
        "eagerMilliseconds": 20,
        "compiledMilliseconds": 15,
        "speedupPercent": 133,
        "seconds": 1,
        "why": "",
    }


def test_the_manifest_records_what_was_measured_against_what(settings: Settings, scripted: Scripted) -> None:
    compiling.main(settings)
    manifest = entry(settings).manifest
    assert manifest.measured["eagerMilliseconds"] == 20.0
    assert manifest.measured["eagerMedianMilliseconds"] == 21.0
    assert manifest.difference == {"latentMaximum": 1e-5, "psnr": 120.0}
    assert manifest.tolerance == {"latentMaximum": 0.01, "psnr": 60, "minimumSpeedupPercent": 102}
    assert manifest.identity_fields["chip"] == "Simulated"


def test_a_second_run_makes_nothing_and_reports_the_same(settings: Settings, scripted: Scripted) -> None:
    compiling.main(settings)
    first = message(settings)["entries"]
    scripted.asked.clear()
    assert compiling.main(settings) == 0
    assert scripted.asked == []
    assert message(settings)["entries"] == first


def test_a_bucket_that_is_added_is_all_that_is_made(settings: Settings, scripted: Scripted) -> None:
    compiling.main(replace(settings, buckets=BUCKETS[:2]))
    scripted.asked.clear()
    compiling.main(settings)
    assert scripted.asked == ["128x128b4"]


def test_a_damaged_entry_is_made_again(settings: Settings, scripted: Scripted) -> None:
    compiling.main(settings)
    (entry(settings).folder / "unet.pt2").write_bytes(b"damaged")
    scripted.asked.clear()
    assert compiling.main(settings) == 0
    assert scripted.asked == ["128x128b1"]
    assert entry(settings).manifest.state is State.KEPT


def test_what_is_too_slow_is_dropped_without_files_and_says_why(settings: Settings, scripted: Scripted) -> None:
    scripted.made = replace(MADE, compiled=Times(15.0, 19.8))
    assert compiling.main(settings) == 0
    dropped = entry(settings)
    assert dropped.manifest.state is State.DROPPED
    assert dropped.manifest.why == "it runs at 101 % of eager's speed; at least 102 % is asked for"
    assert dropped.manifest.files == {}
    assert [path.name for path in dropped.folder.iterdir()] == ["manifest.json"]
    assert message(settings)["entries"][0]["state"] == "Dropped"


@pytest.mark.parametrize("found", [Difference(0.5, 120), Difference(1e-5, 20), Difference(math.nan, math.nan)])
def test_what_changes_the_picture_is_dropped_however_fast_it_is(
    settings: Settings, scripted: Scripted, found: Difference
) -> None:
    scripted.made = replace(MADE, difference=found)
    compiling.main(settings)
    assert entry(settings).manifest.state is State.DROPPED
    assert "differ from eager's" in entry(settings).manifest.why
    json.loads((entry(settings).folder / "manifest.json").read_text(), parse_constant=pytest.fail)


def test_what_is_kept_has_a_reference_that_its_digest_covers(settings: Settings, scripted: Scripted) -> None:
    compiling.main(settings)
    kept = entry(settings, BUCKETS[2])
    assert kept.manifest.reference["prompts"] == list(PICTURES.prompts)
    assert kept.manifest.reference["file"] in kept.manifest.files
    assert read(kept.folder, kept.manifest.reference, kept.manifest.tolerance).tolerance == Tolerance(0.01, 60)
    (kept.folder / FILE).write_bytes(b"damaged")
    assert not isinstance(bank(settings).entry(BUCKETS[2]), Entry)


def test_what_is_dropped_has_none(settings: Settings, scripted: Scripted) -> None:
    scripted.made = replace(MADE, compiled=Times(25.0, 25.0))
    compiling.main(settings)
    assert entry(settings).manifest.reference == {}


def test_a_disputed_entry_that_is_right_here_stays_as_it_is(settings: Settings, scripted: Scripted) -> None:
    compiling.main(settings)
    before = entry(settings).digest
    scripted.asked.clear()
    compiling.main(replace(settings, bank_disputed=("128x128b1",)))
    assert scripted.compared == ["128x128b1"]
    assert scripted.asked == []
    assert entry(settings).digest == before


@pytest.mark.parametrize("found", [Difference(0.5, 20), RuntimeError("an instruction that this processor lacks")])
def test_a_disputed_entry_that_is_wrong_here_too_is_made_again(
    settings: Settings, scripted: Scripted, found: Difference | Exception
) -> None:
    compiling.main(settings)
    scripted.asked.clear()
    scripted.found, scripted.made = found, replace(MADE, compiled=Times(13.0, 12.0))
    assert compiling.main(replace(settings, bank_disputed=("128x128b1",))) == 0
    assert scripted.asked == ["128x128b1"]
    assert entry(settings).manifest.measured["compiledMilliseconds"] == 12.0


def test_an_entry_without_a_reference_stays_valid_and_cannot_be_compared(
    settings: Settings, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recording_none(bucket: Bucket, folder: Path, progress: Progress) -> Made:
        return MADE

    monkeypatch.setattr(scripted, "make", recording_none)
    compiling.main(settings)
    assert entry(settings).manifest.reference == {}
    monkeypatch.setattr(scripted, "make", lambda *arguments: pytest.fail("it was made again"))
    assert compiling.main(replace(settings, bank_disputed=("128x128b1",))) == 0
    assert scripted.compared == []


def test_a_dropped_bucket_is_not_tried_again(settings: Settings, scripted: Scripted) -> None:
    scripted.made = replace(MADE, difference=Difference(1, 1))
    compiling.main(settings)
    scripted.asked.clear()
    compiling.main(settings)
    assert scripted.asked == []


def test_another_minimum_asks_again_where_it_changes_the_decision(settings: Settings, scripted: Scripted) -> None:
    compiling.main(settings)  # at 133 %
    scripted.asked.clear()
    compiling.main(replace(settings, minimum_speedup_percent=120))
    assert scripted.asked == []
    compiling.main(replace(settings, minimum_speedup_percent=140))
    assert len(scripted.asked) == 3
    assert entry(settings).manifest.state is State.DROPPED
    compiling.main(replace(settings, minimum_speedup_percent=130))
    assert entry(settings).manifest.state is State.KEPT


def test_a_failure_names_its_bucket_and_keeps_what_was_published(settings: Settings, scripted: Scripted) -> None:
    compiling.main(replace(settings, buckets=BUCKETS[:1]))
    scripted.made = MemoryError("cannot allocate")
    assert compiling.main(settings) == 1
    error = message(settings)["error"]
    assert (error["reason"], error["bucket"]) == ("OutOfMemory", "160x96b1")
    assert "give the container more" in error["message"]
    assert entry(settings).manifest.state is State.KEPT
    assert not list(bank(settings).folder.glob(".staging-*"))


def test_a_full_volume_is_said_to_be_full(settings: Settings, scripted: Scripted) -> None:
    scripted.made = OSError(28, "No space left on device", "/bank/x")
    assert compiling.main(settings) == 1
    assert message(settings)["error"]["reason"] == "VolumeFull"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bank_path": None}, "SDXL_BANK_PATH"),
        ({"buckets": ()}, "SDXL_BUCKETS"),
        ({"compile_mode": CompileMode.EAGER}, "SDXL_COMPILE_MODE"),
    ],
)
def test_settings_without_work_are_refused_with_the_variable(
    settings: Settings, changes: dict[str, Any], words: str
) -> None:
    assert compiling.main(replace(settings, **changes)) == 2
    error = message(settings)["error"]
    assert error["reason"] == "InvalidSettings"
    assert words in error["message"]


def test_staging_of_killed_writers_is_swept_before_work(settings: Settings, scripted: Scripted) -> None:
    leftover = bank(settings).folder / ".staging-128x128b1-dead"
    leftover.mkdir(parents=True)
    (leftover / "unet.pt2").write_bytes(b"half")
    compiling.main(settings)
    assert not leftover.exists()


def test_a_writer_that_lost_its_lock_publishes_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Robbed(Scripted):
        def make(self, bucket: Bucket, folder: Path, progress: Progress) -> Made:
            (bank(settings).root / ".lock").unlink()
            return super().make(bucket, folder, progress)

    monkeypatch.setattr(compiling, "SimulatedMaker", lambda seconds: Robbed())
    assert compiling.main(settings) == 1
    assert message(settings)["error"]["reason"] == "BankLocked"
    assert not (bank(settings).folder / "128x128b1").exists()


def test_two_jobs_for_one_bank_do_the_work_once(settings: Settings, scripted: Scripted) -> None:
    jobs = [threading.Thread(target=compiling.fill, args=(settings, Progress())) for _ in range(2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert sorted(scripted.asked) == sorted(bucket.key for bucket in BUCKETS)


def test_a_job_that_waits_for_another_says_for_whom(settings: Settings, scripted: Scripted) -> None:
    progress = Progress()
    said = list[object]()
    with bank(settings).lock("compile of another bank on this volume", lambda owner: None):
        job = threading.Thread(target=compiling.fill, args=(settings, progress))
        job.start()
        while not said or said[-1] is None:
            said.append(progress.to_json().get("waitsFor"))
            time.sleep(0.01)
        assert progress.state.stage == "WaitingForLock"
    job.join()
    assert f"process {os.getpid()}, compile of another bank on this volume" in str(said[-1])
    assert "waitsFor" not in progress.to_json()


def test_the_simulated_maker_says_that_it_is_simulated(settings: Settings) -> None:
    assert compiling.main(settings) == 0
    manifest = entry(settings).manifest
    assert manifest.created_by["backend"] == "Simulated"
    assert list(manifest.files) == [FILE]
    assert manifest.state is State.KEPT


def test_the_simulated_maker_takes_the_stated_time(tmp_path: Path) -> None:
    started = time.monotonic()
    SimulatedMaker(0.2).make(BUCKETS[0], tmp_path, Progress())
    assert time.monotonic() - started >= 0.2


def job(settings: Settings, seconds: float) -> subprocess.Popen[bytes]:
    assert settings.bank_path is not None
    environment = {
        **os.environ,
        "SDXL_BACKEND": "Simulated",
        "SDXL_BUCKETS": json.dumps([bucket.to_json() for bucket in BUCKETS]),
        "SDXL_COMPILE_MODE": "AheadOfTime",
        "SDXL_BANK_PATH": str(settings.bank_path),
        "SDXL_SIMULATED_COMPILE_SECONDS": str(seconds),
        "SDXL_HOST": "127.0.0.1",
        "SDXL_INTERNAL_PORT": "0",
        "SDXL_TERMINATION_LOG": str(settings.termination_log),
    }
    program = (
        "import os; from sdxl_runtime import compiling; from sdxl_runtime.settings import Settings;"
        "raise SystemExit(compiling.main(Settings.from_environment(os.environ)))"
    )
    return subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.DEVNULL)


def wait_for(found: Any, process: subprocess.Popen[bytes], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)


def staged(settings: Settings, bucket: Bucket) -> bool:
    return bool(list(bank(settings).folder.glob(f".staging-{bucket.key}-*")))


def test_a_job_that_gets_sigterm_leaves_the_published_buckets_and_no_staging(settings: Settings) -> None:
    process = job(settings, 1)
    wait_for(lambda: staged(settings, BUCKETS[1]), process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert isinstance(bank(settings).entry(BUCKETS[0]), Entry)
    assert sorted(path.name for path in bank(settings).folder.iterdir()) == ["128x128b1"]
    assert not (bank(settings).root / ".lock").exists()
    assert not settings.termination_log.exists()


def test_a_job_that_is_killed_is_resumed_by_the_next_at_once(settings: Settings, scripted: Scripted) -> None:
    process = job(settings, 1)
    wait_for(lambda: staged(settings, BUCKETS[1]), process)
    process.kill()
    process.wait(30)
    assert staged(settings, BUCKETS[1])
    started = time.monotonic()
    assert compiling.main(settings) == 0
    assert time.monotonic() - started < 10
    assert scripted.asked == ["160x96b1", "128x128b4"]
    assert sorted(path.name for path in bank(settings).folder.iterdir()) == sorted(bucket.key for bucket in BUCKETS)


def test_a_failure_that_is_known_keeps_its_reason(settings: Settings, scripted: Scripted) -> None:
    scripted.made = Failure(Reason.MODEL_INVALID, "the UNet is another")
    assert compiling.main(settings) == 1
    assert message(settings)["error"] == {
        "reason": "ModelInvalid",
        "message": "the UNet is another",
        "bucket": "128x128b1",
    }
