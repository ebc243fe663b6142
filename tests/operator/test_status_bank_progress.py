"""How far a compile Job is, as status tells it: each stage at once, numbers now and then, and what an ETA is from."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from sdxl_operator.naming import Object, Reason
from sdxl_operator.status import bank as bank_status
from sdxl_operator.status.bank_progress import message, needs_others, sample
from sdxl_operator.status.conditions import Finding
from sdxl_operator.status.progress import EVERY
from sdxl_operator.status.work import Standing
from tests.operator.builders import NOW, at
from tests.operator.observations import BANK_OBJECT, KEPT, USED, one

SAID: Object = {
    "stage": "Compiling",
    "bucket": "128x128b1",
    "index": 2,
    "total": 4,
    "seconds": 74.3,
    "bytes": 0,
    "totalBytes": 0,
    "bytesPerSecond": 0,
    "bucketSeconds": 12.0,
    "left": ["128x128b1", "128x128b4"],
    "etaSeconds": 187,
    "etaFrom": ["64x64b1"],
}
SHOWN: Object = {
    "stage": "Compiling",
    "bucket": "128x128b1",
    "index": 2,
    "total": 4,
    "seconds": 74,
    "etaSeconds": 180,
    "etaFrom": "64x64b1 of this bank",
    "summary": "2/4 compiling, 3 min left",
    "time": at(0),
}
UNKNOWN = {name: value for name, value in SAID.items() if name not in ("etaSeconds", "etaFrom")}
AT_WORK = Standing(Finding(False, Reason.COMPILING, "Job x is at work"))


def of(said: Object | None, last: Object | None = None, now: datetime = NOW, *others: Object) -> Object | None:
    """The sample of a bank whose status had `last`."""
    return sample({**BANK_OBJECT, "status": {"progress": last} if last else {}}, said, others, now)


def other(**took: int) -> Object:
    entries = [{"key": key, "state": "Kept", "seconds": seconds} for key, seconds in took.items()]
    return {"metadata": {"name": "other"}, "spec": {"profile": "cpu"}, "status": {"entries": entries}}


def built(said: Object | None, standing: Standing | None = AT_WORK, last: Object | None = None, **more: Any) -> Object:
    bank = {**BANK_OBJECT, "status": {"progress": last} if last else {}}
    return bank_status.build(bank, standing, said, ["128x128b1"], USED, "claim", NOW, **more)


def test_what_the_job_says_is_rounded_and_summed_up() -> None:
    assert of(SAID) == SHOWN


def test_numbers_stay_for_a_while_and_another_stage_or_bucket_is_told_at_once() -> None:
    later = NOW + EVERY - timedelta(seconds=1)
    assert of({**SAID, "seconds": 99, "etaSeconds": 5}, SHOWN, later) == SHOWN
    for change in ({"stage": "Measuring"}, {"bucket": "128x128b4", "index": 3}, {"total": 5}):
        found = of({**SAID, **change}, SHOWN, later)
        assert found is not None
        assert found["time"] == at(29)
        assert found != SHOWN


def test_old_numbers_give_way_and_the_same_ones_keep_their_time() -> None:
    found = of({**SAID, "seconds": 104.0, "etaSeconds": 157}, SHOWN, NOW + EVERY)
    assert found is not None
    assert (found["seconds"], found["etaSeconds"], found["time"]) == (100, 150, at(30))
    assert of(SAID, SHOWN, NOW + 5 * EVERY) == SHOWN


def test_a_job_that_does_not_answer_changes_nothing_and_one_that_does_not_run_has_no_progress() -> None:
    assert of(None, SHOWN, NOW + 5 * EVERY) == SHOWN
    assert of(None) is None
    assert of({}, SHOWN) is None


def test_without_anything_measured_there_is_no_eta() -> None:
    found = of(UNKNOWN)
    assert found is not None
    assert not {"etaSeconds", "etaFrom"} & set(found)
    assert found["summary"] == "2/4 compiling"
    assert message(found) == "Compiling: bucket 2 of 4, 128x128b1, 74 s so far"


def test_a_job_that_knows_nothing_is_helped_by_other_banks_and_it_says_by_which() -> None:
    found = of(UNKNOWN, None, NOW, other(**{"128x128b1": 40}))
    assert found is not None
    assert found["etaSeconds"] == 180, "40 - 12 + 160, with two digits"
    assert found["etaFrom"] == "128x128b1 of bank other"
    assert message(found).endswith("about 3 min left, by 128x128b1 of bank other")


def test_a_bucket_that_takes_longer_than_elsewhere_takes_nothing_from_the_ones_after_it() -> None:
    found = of({**UNKNOWN, "bucketSeconds": 500.0}, None, NOW, other(**{"128x128b1": 40, "128x128b4": 90}))
    assert found is not None
    assert found["etaSeconds"] == 90


def test_what_the_job_knows_by_itself_counts_more_than_other_banks() -> None:
    found = of(SAID, None, NOW, other(**{"128x128b1": 4000}))
    assert found == SHOWN


@pytest.mark.parametrize(
    ("said", "needed"), [(SAID, False), (UNKNOWN, True), ({**UNKNOWN, "left": []}, False), ({}, False), (None, False)]
)
def test_other_banks_are_asked_only_where_the_job_does_not_know(said: Object | None, needed: bool) -> None:
    assert needs_others(said) is needed


def test_before_the_first_bucket_there_is_a_stage_and_no_count() -> None:
    found = of({"stage": "WaitingForLock", "bucket": "", "index": 0, "total": 0, "seconds": 3.0})
    assert found == {"stage": "WaitingForLock", "seconds": 3, "summary": "waiting for lock", "time": at(0)}
    assert message(found) == ""


def test_an_import_tells_its_share_and_what_is_left_by_its_speed() -> None:
    fetching = {"stage": "Fetching", "bytes": 45, "totalBytes": 100, "etaSeconds": 12, "seconds": 9.0}
    found = of({**fetching, "bucket": "128x128b1", "index": 1, "total": 2})
    assert found is not None
    assert found["summary"] == "1/2 fetching 45%, 12 s left"
    assert "etaFrom" not in found


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (99, "99 s"), (100, "2 min"), (187, "3 min"), (5999, "98 min"), (9000, "2.5 h")]
)
def test_what_is_left_has_one_unit(seconds: int, words: str) -> None:
    found = of({**SAID, "etaSeconds": seconds})
    assert found is not None
    assert found["summary"] == f"2/4 compiling, {words} left"


def test_status_and_message_of_a_bank_at_work_tell_it() -> None:
    status = built(SAID)
    assert status["progress"] == SHOWN
    text = "Compiling: bucket 2 of 4, 128x128b1, 74 s so far, about 3 min left, by 64x64b1 of this bank"
    assert one(status, "Ready")["message"] == text


def test_while_the_numbers_stay_so_does_the_message() -> None:
    status = built({**SAID, "seconds": 80.0, "etaSeconds": 150}, last=SHOWN)
    assert one(status, "Ready")["message"] == one(built(SAID), "Ready")["message"]


@pytest.mark.parametrize(
    "standing",
    [
        None,
        Standing(Finding(False, Reason.OUT_OF_MEMORY, "x", stalled=True), failures=1),
        Standing(Finding(False, Reason.WAITING_FOR_ACCELERATOR, "x", stalled=True)),
        Standing(Finding(True, Reason.COMPILING), result={"entries": []}),
    ],
)
def test_progress_goes_with_the_work(standing: Standing | None) -> None:
    assert "progress" not in built(None, standing, SHOWN)


def test_what_an_entry_took_is_in_status() -> None:
    result = {"entries": [{"bucket": "128x128b1", "state": "Kept", "digest": KEPT["digest"], "seconds": 41}]}
    status = built(None, Standing(Finding(True, Reason.COMPILING), result=result))
    assert status["entries"][0]["seconds"] == 41


def test_for_whom_it_waits_is_told_at_once_and_stays_until_it_is_old() -> None:
    waiting = {**SAID, "waitsFor": "job-a (process 1, compile)"}
    found = of(waiting, SHOWN, NOW + timedelta(seconds=3))
    assert found is not None
    assert (found["waitsFor"], found["time"]) == ("job-a (process 1, compile)", at(3))
    assert message(found).startswith("Compiling: bucket 2 of 4, 128x128b1, waits for job-a (process 1, compile), 74 s")
    assert of(SAID, found, NOW + timedelta(seconds=10)) == found, "a lock that comes and goes is no news every turn"
    later = of(SAID, found, NOW + timedelta(seconds=3) + EVERY)
    assert later is not None
    assert "waitsFor" not in later


def test_a_job_that_waits_before_its_first_bucket_says_for_whom() -> None:
    found = of({"stage": "WaitingForLock", "seconds": 4.0, "waitsFor": "job-a (process 1, compile)"})
    assert message(found) == "WaitingForLock: waits for job-a (process 1, compile), 4 s so far"
