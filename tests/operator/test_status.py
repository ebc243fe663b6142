"""Conditions over time, the order of explanation, tables of buckets: what status says and when it keeps quiet."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sdxl_operator.api.resource import Retention
from sdxl_operator.naming import Condition, Object, Reason
from sdxl_operator.status import bank as bank_status
from sdxl_operator.status import service as service_status
from sdxl_operator.status.buckets import bucket_rows
from sdxl_operator.status.conditions import MESSAGE_LIMIT, Finding, conditions, timestamp, transitions
from sdxl_operator.status.pods import Observed
from sdxl_operator.status.usage import Usage
from sdxl_operator.status.work import Standing, pause_seconds
from tests.operator.builders import NOW, a_service, at
from tests.operator.observations import (
    COMPLETE,
    FAILED,
    FETCHED,
    KEPT,
    LATER,
    a_deployment,
    a_job,
    a_view,
    child,
    ended,
    fetch,
    of_bank,
    of_model,
    of_service,
    one,
    pod,
    running,
    unready,
    used,
    waiting,
    words,
)

GOOD = Finding(True, Reason.READY)
BUSY = Finding(False, Reason.COMPILING)
STUCK = Finding(False, Reason.VOLUME_FULL, stalled=True)


def of(ready: Finding, previous: list[Object] | None = None, seconds: int = 0) -> Object:
    found = conditions({Condition.READY: ready}, previous or [], 3, NOW + timedelta(seconds=seconds))
    return {"conditions": found}


@pytest.mark.parametrize(
    ("ready", "there"),
    [(GOOD, set()), (BUSY, {"Reconciling"}), (STUCK, {"Stalled"})],
    ids=["ready", "at work", "stuck"],
)
def test_reconciling_and_stalled_are_there_only_while_true(ready: Finding, there: set[str]) -> None:
    status = of(ready, of(STUCK)["conditions"])
    assert {item["type"] for item in status["conditions"]} == {"Ready", *there}
    assert all(item["status"] == "True" for item in status["conditions"] if item["type"] != "Ready")
    assert all(item["observedGeneration"] == 3 for item in status["conditions"])


def test_the_transition_time_moves_only_when_the_status_changes() -> None:
    first = of(BUSY)
    second = of(STUCK, first["conditions"], 10)
    third = of(GOOD, second["conditions"], 20)
    times = [one(status, "Ready")["lastTransitionTime"] for status in (first, second, third)]
    assert times == [at(0), at(0), at(20)]
    assert one(second, "Ready")["reason"] == "VolumeFull"
    assert one(of(GOOD, third["conditions"], 30), "Ready")["lastTransitionTime"] == at(20)


def test_messages_are_bounded() -> None:
    long = of(Finding(False, Reason.CRASHING, "x" * 100_000))
    assert len(one(long, "Ready")["message"]) == len(one(long, "Reconciling")["message"]) == MESSAGE_LIMIT
    standing = fetch(a_job(FAILED), Observed([pod(ended(1, words("Internal", "x" * 4000)), phase="Failed")]))
    status = of_model(standing)
    assert len(status["lastFailure"]["message"]) <= 1024


def test_a_change_is_told_once_however_many_conditions_it_shows_in() -> None:
    before = [{"type": kind, "status": "True", "reason": "Ready", "message": ""} for kind in ("Ready", "BankReady")]
    after = [
        {"type": kind, "status": "False", "reason": "VolumeFull", "message": "full"}
        for kind in ("Ready", "BankReady", "Stalled")
    ]
    assert [(item.reason, item.message, item.warning) for item in transitions(before, after)] == [
        ("VolumeFull", "full", True)
    ]
    assert transitions(after, after) == []


ORDER = [
    ("accepted", {"accepted": Finding(False, Reason.SPEC_INVALID)}, "SpecInvalid"),
    ("model", {"models": (used(child(Reason.FETCHING, holds=False, message="m")),)}, "Fetching"),
    ("bank", {"bank": child(Reason.COMPILING, holds=False, message="b")}, "Compiling"),
    ("replicas", {"deployment": a_deployment(ready=0), "observed": Observed([running()])}, "Loading"),
]


def test_ready_is_explained_by_the_first_that_does_not_hold() -> None:
    wrong: Object = {}
    for _, members, reason in reversed(ORDER):
        wrong |= members
        accepted = wrong.pop("accepted", None)
        view = a_view(**wrong)
        if accepted:
            view = service_status.View(view.spec, view.bucket_keys, accepted, **wrong)
        assert of_service(view)["reason"] == reason


def test_the_bank_and_the_model_speak_in_their_own_words() -> None:
    stuck = child(Reason.VOLUME_FULL, holds=False, message="no space left")
    stuck["status"]["conditions"].append({"type": "Stalled", "status": "True", "reason": "x", "message": ""})
    view = a_view(bank=stuck)
    assert of_service(view)["message"] == of_service(view, "BankReady")["message"] == "no space left"
    assert of_service(view, "Stalled")["reason"] == "VolumeFull"
    assert of_service(view, "Reconciling") == {}


def test_a_status_built_twice_of_the_same_view_is_the_same() -> None:
    ready = {"state": "Ready", "buckets": [{"key": "128x128b1", "state": "Ready", "millisecondsPerStep": 12.6}]}
    for view in (
        a_view(readiness={"pod-1": {**ready, "seconds": {"load": 1.4, "warm": 2.6}}}),
        a_view(deployment=a_deployment(ready=0), observed=Observed([running(last=ended(1, "boom"))])),
        a_view(models=(used(None),), bank=None, deployment=None, observed=Observed()),
    ):
        first = service_status.build(a_service(), view, NOW)
        again = {**a_service(), "status": first}
        assert service_status.build(again, view, NOW + timedelta(hours=1)) == first


@pytest.mark.parametrize(("measured", "shown"), [(12.0, 12), (12.9, 12), (13.4, 13), (0.2, 1), (30.0, 30)])
def test_a_measured_time_moves_only_by_more_than_a_tenth(measured: float, shown: int) -> None:
    served = {"pod-1": {"buckets": [{"key": "a", "state": "Ready", "millisecondsPerStep": measured}]}}
    before = {"buckets": [{"key": "a", "millisecondsPerStep": 12}]} if measured not in (0.2,) else {}
    rows = bucket_rows(["a"], None, [running()], served, before)
    assert rows[0]["millisecondsPerStep"] == shown


def test_a_bucket_is_shown_as_it_is_served_or_as_far_as_the_bank_has_got() -> None:
    entries = [KEPT, {"key": "b", "state": "Dropped", "why": "slower"}, {"key": "c", "state": "Compiling"}]
    bank = {"status": {"entries": entries}}
    served = {"pod-1": {"buckets": [{"key": "128x128b1", "state": "Ready", "backend": "AheadOfTime", "why": ""}]}}
    rows = bucket_rows(["128x128b1", "b", "c", "d"], bank, [running()], served, {})
    assert rows == [
        {"key": "128x128b1", "state": "Ready", "backend": "AheadOfTime", "speedupPercent": 133},
        {"key": "b", "state": "Compiled", "why": "slower"},
        {"key": "c", "state": "Compiling"},
        {"key": "d", "state": "Pending"},
    ]


def test_buckets_that_were_measured_and_not_kept_are_told_and_nothing_is_missing() -> None:
    entries = [KEPT, {"key": "b", "state": "Dropped", "why": "it is slower"}]
    view = replace(a_view(bank=child(Reason.COMPILED, entries=entries)), bucket_keys=("128x128b1", "b"))
    found = of_service(view, "BankReady")
    assert (found["status"], found["reason"]) == ("True", "Compiled")
    assert found["message"].startswith("1 of 2 buckets are served compiled")
    assert found["message"].endswith("b: it is slower")
    assert of_service(view)["status"] == "True"
    own = of_bank(None, previous={"entries": [{"key": "128x128b1", "state": "Dropped", "why": "it is slower"}]})
    assert one(own, "Ready")["message"].endswith("128x128b1: it is slower")


def test_the_cold_start_is_told_by_phase_and_kept_while_nobody_answers() -> None:
    view = a_view(
        observed=Observed([running(ready=True)]),
        readiness={"pod-1": {"seconds": {"load": 4.4, "warm": 9.6}}},
        bank=child(Reason.COMPILED, entries=[KEPT], compileSeconds=77),
    )
    status = service_status.build(a_service(), view, NOW)
    phases = {"scheduleSeconds": 1, "pullSeconds": 2, "loadSeconds": 4, "compileSeconds": 77, "warmSeconds": 10}
    assert status["coldStart"] == phases
    silent = service_status.build({**a_service(), "status": status}, a_view(readiness={}), NOW)
    assert silent["coldStart"] == phases


def test_a_job_out_of_time_is_not_hidden_by_a_late_rollout() -> None:
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "late"}
    found = unready(waiting("ImagePullBackOff", "no such tag"), deployment=a_deployment(ready=0, **late))
    assert found["reason"] == "ImagePullFailed"


def test_a_pod_on_its_way_out_explains_nothing() -> None:
    leaving = waiting("ImagePullBackOff", "old")
    leaving["metadata"]["deletionTimestamp"] = at(1)
    assert unready(leaving)["reason"] == "RollingOut"


def test_replicas_that_deployment_counts_and_pods_do_not_show_are_not_ready() -> None:
    view = a_view(observed=Observed([running()]))
    assert of_service(view)["status"] == "False"


def test_the_pauses_double_from_fifteen_seconds_to_ten_minutes() -> None:
    assert [pause_seconds(failures) for failures in range(1, 9)] == [15, 30, 60, 120, 240, 480, 600, 600]
    assert pause_seconds(10_000) == 600


def test_a_failure_is_counted_once_and_the_next_one_again() -> None:
    job = a_job(FAILED)
    first = fetch(job, Observed())
    seen = {"failures": first.failures, "lastFailure": first.failure}
    assert fetch(job, Observed(), seen).failures == first.failures == 1
    assert fetch(job, Observed(), seen).retry_at == first.retry_at == NOW + timedelta(seconds=45)
    next_job = a_job({**FAILED, "lastTransitionTime": at(90)})
    assert fetch(next_job, Observed(), seen).failures == 2


def test_success_forgets_the_failures_of_a_model() -> None:
    before = of_model(fetch(a_job(FAILED), Observed()))
    assert before["failures"] == 1
    done = fetch(a_job(COMPLETE), Observed([pod(ended(0, FETCHED), phase="Succeeded")]))
    status = of_model(done, before)
    assert (status["digest"], status["sizeMultiple"]) == ("sha256:1", 32)
    assert "failures" not in status


def test_a_bank_shows_which_bucket_is_compiled_and_how_far_it_is() -> None:
    at_work = Standing(Finding(False, Reason.COMPILING, "Job x is at work"))
    progress = {"stage": "Measuring", "bucket": "128x128b1", "index": 1, "total": 3, "seconds": 74.2}
    status = of_bank(at_work, progress)
    assert one(status, "Ready")["message"] == "Measuring: bucket 1 of 3, 128x128b1, 74 s so far"
    assert status["entries"] == [{"key": "128x128b1", "state": "Compiling"}]
    assert status["summary"] == "0/1"


def test_a_bank_keeps_what_was_measured_when_another_bucket_fails() -> None:
    failed = Standing(Finding(False, Reason.OUT_OF_MEMORY, "x", stalled=True), failures=1)
    status = of_bank(failed, previous={"entries": [{**KEPT, "key": "other"}], "identity": "i"})
    assert [entry["state"] for entry in status["entries"]] == ["Kept", "Pending"]
    assert (status["summary"], status["identity"]) == ("1/2", "i")


def test_a_long_report_leaves_what_an_entry_measured_unless_it_was_made_anew() -> None:
    known = {**KEPT, "eagerMilliseconds": 20, "seconds": 40}
    same = Standing(Finding(True, Reason.COMPILING), result={"entries": [short(KEPT["digest"])]})
    assert of_bank(same, previous={"entries": [known]})["entries"] == [known]
    other = Standing(Finding(True, Reason.COMPILING), result={"entries": [short("sha256:other")]})
    (entry,) = of_bank(other, previous={"entries": [known]})["entries"]
    assert entry == {"key": "128x128b1", "state": "Kept", "digest": "sha256:other"}


def short(digest: str) -> Object:
    """An entry as a termination message with very many of them has it."""
    return {"bucket": "128x128b1", "state": "Kept", "digest": digest}


def test_entries_of_another_identity_are_forgotten() -> None:
    bank = {"status": {"identity": "old", "entries": [KEPT]}}
    new = Standing(GOOD, result={"identity": "new"})
    same = Standing(GOOD, result={"identity": "old"})
    assert "entries" not in bank_status.without_other_identity(bank, new)["status"]
    assert bank_status.without_other_identity(bank, same) == bank
    assert bank_status.without_other_identity(bank, None) == bank


def test_the_newest_failure_stays_until_a_newer_one() -> None:
    crash = a_view(deployment=a_deployment(ready=0), observed=Observed([running(last=ended(1, "boom"))]))
    status = service_status.build(a_service(), crash, LATER)
    assert status["lastFailure"] == {
        "reason": "Crashing",
        "message": "boom",
        "component": "server",
        "exitCode": 1,
        "time": at(30),
    }
    older = child(Reason.COMPILED, entries=[KEPT], lastFailure={"reason": "x", "message": "", "time": at(2)})
    after = service_status.build({**a_service(), "status": status}, a_view(bank=older), LATER)
    assert after["lastFailure"] == status["lastFailure"]


def test_the_current_revision_is_the_one_before_until_all_replicas_run_the_next() -> None:
    rolled = service_status.build(a_service(), a_view(updated_revision="studio-1"), NOW)
    assert rolled["revision"] == {"current": "studio-1", "updated": "studio-1"}
    view = a_view(deployment=a_deployment(ready=0), current_revision="studio-0", updated_revision="studio-1")
    assert service_status.build(a_service(), view, NOW)["revision"] == {"current": "studio-0", "updated": "studio-1"}


USAGE = [
    ("one user retains", ["a", "b"], [Retention.DELETE, Retention.RETAIN], {}, "Retain", None),
    ("all users let go", ["a"], [Retention.DELETE], {}, "Delete", None),
    ("the last word holds", [], [], {"retention": "Delete"}, "Delete", at(0)),
    ("never used", [], [], {}, "Retain", at(0)),
    ("since when is kept", [], [], {"retention": "Delete", "unusedSince": at(-90)}, "Delete", at(-90)),
    ("mounted by a Deployment alone", ["a"], [], {"retention": "Delete"}, "Delete", None),
]


@pytest.mark.parametrize(
    ("users", "wishes", "previous", "retention", "since"), [row[1:] for row in USAGE], ids=[row[0] for row in USAGE]
)
def test_who_uses_it_and_whether_it_stays(
    users: list[str], wishes: list[Retention], previous: Object, retention: str, since: str | None
) -> None:
    usage = Usage.of(users, wishes, previous, NOW)
    assert (usage.retention.value, usage.unused_since) == (retention, since)


@pytest.mark.parametrize(
    ("since", "retention", "empty", "goes"),
    [
        (None, Retention.DELETE, True, False),
        (at(0), Retention.DELETE, False, True),
        (at(0), Retention.RETAIN, False, False),
        (at(0), Retention.RETAIN, True, True),
    ],
)
def test_only_what_is_unused_and_not_retained_or_empty_goes(
    since: str | None, retention: Retention, empty: bool, goes: bool
) -> None:
    expiry = Usage((), retention, since).expires_at(empty, 600)
    assert expiry == (NOW + timedelta(seconds=600) if goes else None)


def test_times_are_written_as_kubernetes_writes_them() -> None:
    assert timestamp(NOW.astimezone(tz=None)) == "2030-01-01T12:00:00Z"
