"""The states of a process and the table of buckets, as docs/contract.md writes them."""

import json

import pytest

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.health import Health, Outcome, PictureResult, State

BUCKET, OTHER = Bucket(128, 128), Bucket(96, 160, 4)


@pytest.fixture
def health() -> Health:
    times = iter([0.0, 1.5, 4.75])
    return Health((BUCKET, OTHER), clock=lambda: next(times))


def test_it_begins_loading_with_every_bucket_pending(health: Health) -> None:
    assert health.to_json() == {
        "state": "Loading",
        "message": "",
        "identity": "",
        "buckets": [
            {"key": "128x128b1", "state": "Pending", "backend": "", "why": ""},
            {"key": "96x160b4", "state": "Pending", "backend": "", "why": ""},
        ],
        "seconds": {},
    }


def test_it_ends_ready_with_identity_costs_and_seconds(health: Health) -> None:
    health.bound(BUCKET, "AheadOfTime")
    health.bound(OTHER, "Eager", "the bank has no 96x160b4")
    health.loaded("0123456789abcdef")
    for bucket in (BUCKET, OTHER):
        health.warming(bucket)
        health.warmed(bucket, 12.34567)
    health.ready()
    assert json.loads(json.dumps(health.to_json())) == {
        "state": "Ready",
        "message": "",
        "identity": "0123456789abcdef",
        "buckets": [
            {"key": "128x128b1", "state": "Ready", "backend": "AheadOfTime", "why": "", "millisecondsPerStep": 12.346},
            {
                "key": "96x160b4",
                "state": "Ready",
                "backend": "Eager",
                "why": "the bank has no 96x160b4",
                "millisecondsPerStep": 12.346,
            },
        ],
        "seconds": {"load": 1.5, "warm": 3.25},
    }


def test_the_bucket_that_warms_up_is_shown(health: Health) -> None:
    health.loaded("")
    health.warming(OTHER)
    body = health.to_json()
    assert body["state"] == "Warming"
    assert [bucket["state"] for bucket in body["buckets"]] == ["Pending", "Warming"]


def test_a_process_that_drains_does_not_become_ready(health: Health) -> None:
    health.loaded("")
    health.drain()
    health.ready()
    assert health.state is State.DRAINING


def test_a_failure_stays_and_keeps_its_first_message(health: Health) -> None:
    health.fail("the first")
    health.fail("the second")
    health.drain()
    health.loaded("")
    assert (health.state, health.to_json()["message"]) == (State.FAILED, "the first")


def test_what_came_of_the_picture_check_is_shown_with_its_share_of_the_warm_up(health: Health) -> None:
    health.loaded("")
    passed = PictureResult(Outcome.PASSED, "", {"latentMaximum": 1e-5, "psnr": 120.0}, 0.25)
    health.compared(BUCKET, passed)
    health.compared(OTHER, PictureResult(Outcome.SKIPPED, "its entry has no reference"))
    health.ready()
    body = json.loads(json.dumps(health.to_json()))
    assert [bucket["picture"] for bucket in body["buckets"]] == [
        {"outcome": "Passed", "latentMaximum": 1e-5, "psnr": 120.0, "seconds": 0.25},
        {"outcome": "Skipped", "why": "its entry has no reference"},
    ]
    assert body["seconds"] == {"load": 1.5, "check": 0.25, "warm": 3.25}
    health.compared(OTHER, PictureResult(Outcome.DIFFERS, "by 0.5", {"latentMaximum": 0.5, "psnr": 12.0}, 0.5))
    assert health.seconds["check"] == 0.25, "what comes later is no part of the start"
