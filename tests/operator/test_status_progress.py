"""How far a fetch Job is, as status tells it: rounded, and only now and then another number."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from sdxl_operator.naming import Object
from sdxl_operator.status import model as model_status
from sdxl_operator.status.progress import EVERY, MEMBERS, sample, sentence
from tests.operator.builders import NOW, at
from tests.operator.observations import (
    COMPLETE,
    FAILED,
    FETCHED,
    MODEL_OBJECT,
    USED,
    Observed,
    a_job,
    ended,
    fetch,
    one,
    pod,
    running,
    words,
)

SAID: Object = {
    "stage": "Downloading",
    "bytes": 3_123_456_789,
    "totalBytes": 6_938_040_706,
    "bytesPerSecond": 84_212_345,
    "etaSeconds": 45,
    "seconds": 37.1,
}
SHOWN: Object = {
    "progress": "Downloading 45%",
    "bytesDone": 3_120_000_000,
    "totalBytes": 6_938_040_706,
    "bytesPerSecond": 84_000_000,
    "etaSeconds": 45,
    "progressTime": at(0),
}


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def status_of(previous: Object, said: Object | None, now: datetime, *pods: Object, job: Object | None = None) -> Object:
    """An SDXLModel's status while its fetch Job stands so."""
    found = fetch(job or a_job(), Observed(pods or [running()]), previous)
    return model_status.build({**MODEL_OBJECT, "status": previous}, found, USED, "claim", now, said)


def test_what_the_job_says_is_rounded() -> None:
    assert sample({}, SAID, NOW) == SHOWN


def test_a_sample_becomes_a_sentence() -> None:
    assert sentence(SHOWN) == "Downloading 45% of 6.94 GB, 84 MB/s, about 45 s left"
    assert sentence({**SHOWN, "bytesPerSecond": 0}) == "Downloading 45% of 6.94 GB, 0 B/s, about 45 s left"
    unknown = {name: value for name, value in SHOWN.items() if name != "etaSeconds"}
    assert sentence(unknown) == "Downloading 45% of 6.94 GB, 84 MB/s"
    assert sentence({}) == ""


@pytest.mark.parametrize("seconds", [3, 29])
def test_another_number_waits_until_the_last_one_is_old(seconds: float) -> None:
    assert sample(SHOWN, {**SAID, "stage": "Measuring", "bytes": 9}, later(seconds)) == SHOWN


def test_an_old_number_gives_way() -> None:
    found = sample(SHOWN, {**SAID, "bytes": 6_000_000_000}, NOW + EVERY)
    assert (found["progress"], found["progressTime"]) == ("Downloading 86%", at(30))


def test_the_same_numbers_keep_their_time() -> None:
    assert sample(SHOWN, SAID, later(500)) == SHOWN


def test_a_job_that_does_not_answer_changes_nothing() -> None:
    assert sample(SHOWN, None, later(500)) == SHOWN
    assert sample({}, None, NOW) == {}


def test_how_long_it_takes_is_told_as_soon_as_it_is_known() -> None:
    unknown = {name: value for name, value in SAID.items() if name != "etaSeconds"}
    first = sample({}, {**unknown, "bytesPerSecond": 0}, NOW)
    assert sample(first, {**unknown, "bytes": 9 * 10**9}, later(3)) == first
    assert sample(first, SAID, later(3)) == {**SHOWN, "progressTime": at(3)}


WAITING = "https://hub.example, asked for unet/x (try 1 of 7): the hub answered 429"


def test_that_the_hub_is_waited_for_is_told_at_once_and_with_the_numbers() -> None:
    found = sample(SHOWN, {**SAID, "waitsFor": WAITING}, later(3))
    assert (found["waitsFor"], found["progressTime"]) == (WAITING, at(3))
    assert sentence(found) == f"{sentence(SHOWN)}; waits for {WAITING}"


def test_while_it_waits_the_words_stay_until_they_are_old() -> None:
    found = sample(SHOWN, {**SAID, "waitsFor": WAITING}, later(3))
    again = {**SAID, "waitsFor": WAITING.replace("try 1", "try 2")}
    assert sample(found, again, later(10)) == found
    assert "try 2" in sample(found, again, later(33))["waitsFor"]
    assert sample(found, SAID, later(10)) == found, "a hub that answers and fails in turns is no news twice a minute"
    assert "waitsFor" not in sample(found, SAID, later(33))


def test_what_waits_without_numbers_says_at_which_stage() -> None:
    listing = {"stage": "Listing", "bytes": 0, "totalBytes": 0, "waitsFor": "x" * 2000}
    found = sample({}, listing, NOW)
    assert found == {"progress": "Listing", "waitsFor": "x" * 1024, "progressTime": at(0)}
    assert sentence(found).startswith("Listing; waits for xxx")


def test_a_stage_without_a_total_has_no_numbers() -> None:
    assert sample({}, {**SAID, "stage": "Listing", "totalBytes": 0}, NOW) == {}


def test_a_time_that_is_not_known_is_left_out() -> None:
    without = {name: value for name, value in SAID.items() if name != "etaSeconds"}
    assert "etaSeconds" not in sample({}, without, NOW)


@pytest.mark.parametrize(
    "odd", [{"bytes": None}, {"bytes": "many"}, {"bytes": -5}, {"totalBytes": "x"}, {"bytesPerSecond": 1.5}]
)
def test_an_odd_answer_is_no_failure(odd: Object) -> None:
    found = sample({}, {**SAID, **odd}, NOW)
    assert all(isinstance(found[name], int) for name in ("bytesDone", "totalBytes") if name in found)


def test_more_than_all_is_all() -> None:
    assert sample({}, {**SAID, "bytes": 10**12}, NOW)["progress"] == "Downloading 100%"


@pytest.mark.parametrize(
    ("number", "rounded"), [(0, 0), (7, 7), (999, 999), (1234, 1230), (6_938_040_706, 6_930_000_000)]
)
def test_bytes_keep_three_digits(number: int, rounded: int) -> None:
    assert sample({}, {**SAID, "bytes": number}, NOW)["bytesDone"] == rounded


def test_the_status_of_a_model_that_is_fetched_tells_how_far_it_is() -> None:
    status = status_of({}, SAID, NOW)
    assert {name: status[name] for name in MEMBERS if name in status} == SHOWN
    assert one(status, "Ready")["message"] == sentence(SHOWN)
    assert one(status, "Ready")["reason"] == "Fetching"


def test_while_the_numbers_stay_so_does_the_whole_status() -> None:
    first = status_of({}, SAID, NOW)
    for seconds in (3, 6, 27):
        now: dict[str, Any] = {**SAID, "bytes": SAID["bytes"] + 10**8 * seconds, "etaSeconds": 1}
        assert status_of(first, now, later(seconds)) == first
    assert status_of(first, {**SAID, "bytes": 5 * 10**9}, later(31)) != first


def test_before_the_job_counts_it_is_just_at_work() -> None:
    status = status_of({}, {"stage": "Listing", "bytes": 0, "totalBytes": 0}, NOW)
    assert one(status, "Ready")["message"] == "Job the-job is at work"
    assert not set(MEMBERS) & set(status)


def test_numbers_go_with_the_job_whether_it_failed_or_not() -> None:
    first = status_of({}, SAID, NOW)
    failed = pod(ended(1, words("SourceUnavailable", "no answer")), phase="Failed")
    assert not set(MEMBERS) & set(status_of(first, None, later(40), failed, job=a_job(FAILED)))
    done = pod(ended(0, FETCHED), phase="Succeeded")
    status = status_of(first, None, later(40), done, job=a_job(COMPLETE))
    assert not set(MEMBERS) & set(status)
    assert one(status, "Ready")["status"] == "True"
