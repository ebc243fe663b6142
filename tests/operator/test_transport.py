"""Paths, errors and pace of the calls to the API server; the calls themselves are in tests/apiserver."""

import asyncio
import json
from typing import Any

import pytest
from kubernetes.aio.client import Configuration

from sdxl_operator.cluster import ClusterError, Conflict, Forbidden, Invalid, KindNotServed, NotFound, Unavailable
from sdxl_operator.cluster.errors import error_of
from sdxl_operator.cluster.transport import Transport, path_of
from sdxl_operator.naming import Ref


@pytest.mark.parametrize(
    ("ref", "subresource", "path"),
    [
        (Ref("v1", "Pod", "team", "a"), "", "/api/v1/namespaces/team/pods/a"),
        (Ref("v1", "Pod", "", ""), "", "/api/v1/pods"),
        (Ref("apps/v1", "Deployment", "team", ""), "", "/apis/apps/v1/namespaces/team/deployments"),
        (
            Ref("sdxl.dev/v1alpha1", "SDXLService", "team", "a"),
            "status",
            "/apis/sdxl.dev/v1alpha1/namespaces/team/sdxlservices/a/status",
        ),
        (
            Ref("sdxl.dev/v1alpha1", "AcceleratorProfile", "", "cpu"),
            "",
            "/apis/sdxl.dev/v1alpha1/acceleratorprofiles/cpu",
        ),
        (Ref("sdxl.dev/v1alpha1", "", "", ""), "", "/apis/sdxl.dev/v1alpha1"),
        (Ref("v1", "Pod", "team", "../secrets/a"), "", "/api/v1/namespaces/team/pods/..%2Fsecrets%2Fa"),
    ],
)
def test_the_path_of_an_object_a_collection_and_a_version(ref: Ref, subresource: str, path: str) -> None:
    assert path_of(ref, subresource) == path


def test_a_kind_that_the_operator_does_not_know_is_an_error() -> None:
    with pytest.raises(KindNotServed, match="apps/v1 Sandwich is not in the operator's list of kinds"):
        path_of(Ref("apps/v1", "Sandwich", "", ""))


def a_status(reason: str, message: str = "words", **details: Any) -> bytes:
    return json.dumps({"kind": "Status", "reason": reason, "message": message, "details": details}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, a_status("BadRequest"), Invalid),
        (401, a_status("Unauthorized"), Forbidden),
        (403, a_status("Forbidden"), Forbidden),
        (404, a_status("NotFound", name="a"), NotFound),
        (404, a_status("NotFound"), KindNotServed),
        (404, b"404 page not found\n", KindNotServed),
        (409, a_status("AlreadyExists", name="a"), Conflict),
        (410, a_status("Expired"), Unavailable),
        (415, a_status("UnsupportedMediaType"), ClusterError),
        (422, a_status("Invalid"), Invalid),
        (429, a_status("TooManyRequests"), Unavailable),
        (500, a_status("InternalError"), Unavailable),
        (503, b"", Unavailable),
        (504, b"<html>", Unavailable),
    ],
)
def test_an_answer_becomes_the_error_that_says_what_to_do(status: int, body: bytes, kind: type[ClusterError]) -> None:
    assert type(error_of(status, body)) is kind


def test_an_error_carries_the_servers_words_and_the_fields_at_fault() -> None:
    causes = [{"field": "spec.replicas", "message": "must not be negative"}]
    error = error_of(422, a_status("Invalid", "studio is invalid", causes=causes))
    assert (error.reason, error.message, error.status) == ("Invalid", "studio is invalid", 422)
    assert error.fields == (("spec.replicas", "must not be negative"),)


def test_an_answer_that_is_no_status_is_quoted() -> None:
    assert str(error_of(502, b"bad gateway")) == "HTTP502: bad gateway"
    assert error_of(503, b"").message == "HTTP 503"


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("Wed, 21 Oct 2026", None), (None, None)])
def test_a_retry_after_in_seconds_is_kept(header: str | None, seconds: float | None) -> None:
    error = error_of(429, b"", header)
    assert isinstance(error, Unavailable)
    assert error.retry_after == seconds


async def test_calls_beyond_the_burst_are_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def send(*_: Any) -> tuple[int, bytes, None]:
        return 200, b"{}", None

    async with Transport(Configuration(), queries_per_second=5) as transport:
        monkeypatch.setattr(transport, "_send", send)
        monkeypatch.setattr(asyncio, "sleep", sleep)
        for _ in range(16):
            await transport.call("get", "GET", Ref("v1", "Pod", "team", "a"))
    assert len(slept) in (5, 6), "two seconds' worth of calls go at once"
    assert slept == sorted(slept)
    assert slept[-1] == pytest.approx(1.0, abs=0.3)
