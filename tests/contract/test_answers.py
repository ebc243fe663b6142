"""What the runtime says is what the operator reads: /readyz, /progress, termination messages."""

import errno
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest

from sdxl_operator.api.service_status import BucketStatus
from sdxl_operator.naming import Object, Reason
from sdxl_operator.status import bank as bank_status
from sdxl_operator.status import bank_progress, history
from sdxl_operator.status import progress as model_progress
from sdxl_operator.status.buckets import bucket_rows, cold_start
from sdxl_operator.status.pods import RUNTIME_REASONS, ending
from sdxl_runtime import termination
from sdxl_runtime.bank.manifest import Manifest, State
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.compiling.history import History
from sdxl_runtime.health import PICTURE_DIFFERS, Health, Outcome, PictureResult
from sdxl_runtime.metrics import ENTRIES
from sdxl_runtime.progress import Progress

OWN = {termination.Reason.INVALID_SETTINGS.value, termination.Reason.INTERNAL.value}
"""Reasons that say no more than that the command failed."""


def ended(message: str, exit_code: int) -> Object:
    terminated = {"exitCode": exit_code, "message": message, "finishedAt": "2026-01-01T00:00:00Z", "reason": "Error"}
    return {
        "spec": {"containers": [{"name": "compile"}]},
        "status": {"containerStatuses": [{"state": {"terminated": terminated}}]},
    }


def ready_pod() -> Object:
    conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"}]
    running = {"state": {"running": {"startedAt": "2026-01-01T00:00:03Z"}}}
    return {
        "metadata": {"name": "studio-1", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "status": {"conditions": conditions, "containerStatuses": [running]},
    }


def warmed() -> Health:
    now = iter(range(100))
    health = Health([Bucket(128, 128), Bucket(160, 96, 4)], clock=lambda: float(next(now)))
    health.bound(Bucket(128, 128), "AheadOfTime")
    health.bound(Bucket(160, 96, 4), "Eager", "the bank has no entry")
    health.loaded("0123456789abcdef")
    health.warming(Bucket(128, 128))
    health.warmed(Bucket(128, 128), 12.4)
    return health


def test_the_table_of_buckets_becomes_rows_of_status() -> None:
    answer = json.loads(json.dumps(warmed().to_json()))
    rows = bucket_rows(("128x128b1", "160x96b4"), None, [ready_pod()], {"studio-1": answer}, {})
    assert rows[0] == {"key": "128x128b1", "state": "Ready", "backend": "AheadOfTime", "millisecondsPerStep": 12}
    assert rows[1]["state"] == "Pending"


def test_an_entry_that_paints_another_picture_becomes_a_row_that_is_disputed() -> None:
    health, digest = warmed(), "sha256:1"
    health.refused(Bucket(128, 128), "Eager", "it differs by 0.5", digest, PICTURE_DIFFERS)
    difference = {"latentMaximum": 0.5, "psnr": 17.2}
    health.compared(Bucket(128, 128), PictureResult(Outcome.DIFFERS, "it differs by 0.5", difference, 0.1))
    answer = json.loads(json.dumps(health.to_json()))
    bank = {"status": {"entries": [{"key": "128x128b1", "state": "Kept", "digest": digest}]}}
    (row,) = bucket_rows(("128x128b1",), bank, [ready_pod()], {"studio-1": answer}, {})
    assert (row["entry"], row["digest"], row["why"]) == ("PictureDiffers", digest, "it differs by 0.5")
    BucketStatus.model_validate(row)
    assert bank_status.disputed(bank["status"], [{"buckets": [row]}]) == {"128x128b1": "PictureDiffers"}


def test_what_becomes_of_an_entry_has_one_name_on_both_sides() -> None:
    literal, _ = get_args(BucketStatus.model_fields["entry"].annotation)
    assert set(get_args(literal)) == set(ENTRIES)


def test_a_replica_that_paints_other_pictures_is_understood_from_its_termination_message(tmp_path: Path) -> None:
    said = termination.Failure(termination.Reason.PICTURE_DIFFERS, "the picture differs by 0.5", "128x128b1")
    error = {"reason": said.reason, "message": said.message, "bucket": said.bucket}
    termination.finish(tmp_path / "log", {"error": error})
    found = ending(ended((tmp_path / "log").read_text(), 1), Reason.CRASHING, "")
    assert found is not None
    assert found.reason is Reason.PICTURE_DIFFERS
    assert "the picture differs by 0.5" in found.message
    assert "(bucket 128x128b1)" in found.message


def test_the_seconds_of_a_start_become_cold_start() -> None:
    health = warmed()
    health.ready()
    answer = json.loads(json.dumps(health.to_json()))
    found = cold_start([ready_pod()], {"studio-1": answer}, None)
    assert found == {"scheduleSeconds": 1, "pullSeconds": 2, "loadSeconds": 1, "warmSeconds": 1}


def test_every_reason_of_the_runtime_has_one_of_the_operator() -> None:
    assert set(RUNTIME_REASONS) == {reason.value for reason in termination.Reason} - OWN
    assert {reason.value for reason in RUNTIME_REASONS.values()} == set(RUNTIME_REASONS)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), Reason.VOLUME_FULL),
        (MemoryError(), Reason.OUT_OF_MEMORY),
        (termination.Failure(termination.Reason.MODEL_MISSING, "no such folder"), Reason.MODEL_MISSING),
        (RuntimeError("something else"), Reason.COMPILE_FAILED),
    ],
)
def test_a_failed_command_is_understood_from_its_termination_message(
    tmp_path: Path, error: Exception, reason: Reason
) -> None:
    log = tmp_path / "termination-log"

    def fail() -> dict[str, object]:
        raise error

    code = termination.run(log, fail)
    found = ending(ended(log.read_text(), code), Reason.COMPILE_FAILED, "spec.compile.resources.limits.memory")
    assert found is not None
    assert found.reason is reason
    assert found.exit_code == 1
    assert found.message


def test_the_result_of_compile_becomes_entries(tmp_path: Path) -> None:
    kept = Manifest(
        "0123456789abcdef",
        {},
        Bucket(128, 128),
        State.KEPT,
        measured={"eagerMilliseconds": 20.4, "compiledMilliseconds": 15.2, "speedupPercent": 134.2},
        seconds={"load": 9.0, "compile": 30.2, "measure": 10.1},
    )
    dropped = Manifest("0123456789abcdef", {}, Bucket(160, 96, 4), State.DROPPED, why="too slow")
    result = {"identity": "0123456789abcdef", "entries": [item.summary(item.digest()) for item in (kept, dropped)]}
    log = tmp_path / "termination-log"
    assert termination.run(log, lambda: result) == 0
    found = ending(ended(log.read_text(), 0), Reason.COMPILE_FAILED, "")
    assert found is not None
    entries = {item["key"]: item for item in bank_status.entries_from(found.result)}
    assert entries["128x128b1"]["state"] == "Kept"
    assert entries["128x128b1"]["speedupPercent"] == 134
    assert (entries["128x128b1"]["eagerMilliseconds"], entries["128x128b1"]["compiledMilliseconds"]) == (20, 15)
    assert entries["128x128b1"]["seconds"] == 40
    assert entries["160x96b4"]["why"] == "too slow"
    assert "seconds" not in entries["160x96b4"], "its manifest does not tell"


def test_the_longest_result_still_fits_into_a_termination_message(tmp_path: Path) -> None:
    manifests = [Manifest("0123456789abcdef", {}, Bucket(1024 + 8 * i, 1024), State.KEPT) for i in range(32)]
    result = {"identity": "0123456789abcdef", "entries": [item.summary(item.digest()) for item in manifests]}
    log = tmp_path / "termination-log"
    termination.run(log, lambda: result)
    assert log.stat().st_size <= termination.LIMIT_BYTES
    found = ending(ended(log.read_text(), 0), Reason.COMPILE_FAILED, "")
    assert found is not None
    assert len(bank_status.entries_from(found.result)) == 32


def test_what_fetch_says_of_its_progress_becomes_numbers_of_status() -> None:
    times = [0.0]
    progress = Progress(clock=lambda: times[-1])
    progress.stage("Downloading")
    progress.transfer(10_000)
    times.append(10.0)
    progress.add_bytes(4000)
    answer = json.loads(json.dumps(progress.to_json()))
    found = model_progress.sample({}, answer, datetime(2026, 1, 1, tzinfo=UTC))
    assert set(found) == set(model_progress.MEMBERS) - {"waitsFor"}
    assert found["progress"] == "Downloading 40%"
    assert (found["bytesDone"], found["totalBytes"]) == (4000, 10_000)
    assert (found["bytesPerSecond"], found["etaSeconds"]) == (400, 15)


def test_progress_becomes_a_sentence() -> None:
    progress = Progress()
    progress.begin("128x128b1", 2, 3)
    progress.stage("Compiling")
    answer = json.loads(json.dumps(progress.to_json()))
    found = bank_progress.sample({"metadata": {"name": "b"}}, answer, [], datetime(2026, 1, 1, tzinfo=UTC))
    assert bank_progress.message(found) == "Compiling: bucket 2 of 3, 128x128b1"


def test_what_compile_says_is_left_becomes_numbers_of_status() -> None:
    times = [0.0]
    progress = Progress(clock=lambda: times[-1])
    outlook = History({Bucket(128, 128): 40.0}).outlook(Bucket(256, 128), [Bucket(256, 128), Bucket(128, 128, 4)])
    progress.begin("256x128b1", 2, 3, outlook)
    progress.stage("Compiling")
    times.append(20.0)
    answer = json.loads(json.dumps(progress.to_json()))
    found = bank_progress.sample({"metadata": {"name": "b"}}, answer, [], datetime(2026, 1, 1, tzinfo=UTC))
    assert found is not None
    assert (found["index"], found["total"], found["seconds"], found["etaSeconds"]) == (2, 3, 20, 220)
    assert (found["etaFrom"], found["summary"]) == ("128x128b1 of this bank", "2/3 compiling, 4 min left")


def test_runtime_and_operator_reckon_alike() -> None:
    took = {Bucket(128, 128): 40.0, Bucket(512, 512): 300.0, Bucket(128, 128, 4): 90.0}
    entries = [{"key": bucket.key, "state": "Kept", "seconds": seconds} for bucket, seconds in took.items()]
    bank = {"metadata": {"name": "b"}, "spec": {}, "status": {"entries": entries}}
    for bucket in (*took, Bucket(192, 128), Bucket(1024, 1024, 2), Bucket(256, 128, 1, 154)):
        theirs, ours = History(took).outlook(bucket, [bucket]), history.estimate([bucket.key], [bank])
        assert ours is not None
        assert ours.seconds == theirs.present_seconds
        assert tuple(source.key for source in (*ours.measured, *ours.similar)) == theirs.measured


def test_for_whom_a_job_waits_becomes_part_of_the_sentence() -> None:
    progress = Progress()
    progress.stage("WaitingForLock")
    progress.waits_for("job-a (process 1, compile)")
    answer = json.loads(json.dumps(progress.to_json()))
    assert (
        bank_progress.message(
            bank_progress.sample({"metadata": {"name": "b"}}, answer, [], datetime(2026, 1, 1, tzinfo=UTC))
        )
        == "WaitingForLock: waits for job-a (process 1, compile)"
    )
    found = model_progress.sample({}, answer, datetime(2026, 1, 1, tzinfo=UTC))
    assert model_progress.sentence(found) == "WaitingForLock; waits for job-a (process 1, compile)"
