"""Compiling and serving want the last card: each placement on a node without a free one, and the operator killed."""

from collections.abc import Iterator
from typing import Any

import pytest

from dev.cards import RESOURCE
from dev.demo.kubectl import Kubectl
from tests.ascend.world import CARDS, compiled_on_cards, replicas
from tests.e2e.world import Namespace, Object, condition, kill_operator

ONE = [{"width": 128, "height": 128}]
TWO = [*ONE, {"width": 160, "height": 96}]
THREE = [*TWO, {"width": 96, "height": 160}]


@pytest.fixture(autouse=True)
def gone_after_each(namespace: Namespace) -> Iterator[None]:
    yield
    namespace.run("delete", "sdxl,sdxlbank,sdxlmodel", "--all", "--timeout=60s")
    namespace.wait(lambda: namespace.items("pods"), lambda pods: not pods, 90)


def placement(namespace: Namespace) -> Object:
    """Where the service's bank is filled."""
    found: Object = (bank_of(namespace).get("status") or {}).get("placement") or {}
    return found


def bank_of(namespace: Namespace) -> Object:
    """The bank that the service uses, empty where there is none yet."""
    name = (namespace.service().get("status") or {}).get("bank")
    return namespace.get("sdxltunebank", name) if name else {}


def wait_until_lent(namespace: Namespace) -> None:
    """A replica has gone down for the Job."""
    namespace.wait(lambda: placement(namespace), lambda found: found.get("lender") == "studio", 60)
    namespace.wait(lambda: len(replicas(namespace)), lambda count: count == CARDS - 1, 60)


def wait_until_whole(namespace: Namespace, buckets: list[Any]) -> Object:
    """All replicas are back, of the edited spec, and the bank has every bucket."""
    service = namespace.wait_ready(seconds=240)
    assert service["status"]["readyReplicas"] == CARDS
    assert service["status"]["bucketSummary"] == f"{len(buckets)}/{len(buckets)}"
    bank = bank_of(namespace)
    assert bank["status"]["summary"] == f"{len(buckets)}/{len(buckets)}"
    assert "lender" not in bank["status"]["placement"]
    return service


def test_a_card_is_borrowed_from_a_replica_and_given_back(namespace: Namespace, on_cards: str) -> None:
    namespace.apply(compiled_on_cards(buckets=ONE, replicas=CARDS))
    wait_until_whole(namespace, ONE)
    assert placement(namespace) == {"method": "Job"}
    namespace.apply(compiled_on_cards(buckets=TWO, replicas=CARDS))
    wait_until_lent(namespace)
    service = namespace.service()
    assert condition(service, "Available")["status"] == "True"
    assert condition(service)["reason"] in ("WaitingForAccelerator", "Compiling"), condition(service)
    wait_until_whole(namespace, TWO)
    assert placement(namespace)["method"] == "Borrowed"
    assert f"no {RESOURCE} is free" in placement(namespace)["message"]


def test_an_operator_killed_while_a_card_is_lent_gives_it_back(
    namespace: Namespace, on_cards: str, kubectl: Kubectl
) -> None:
    namespace.apply(compiled_on_cards(buckets=ONE, replicas=CARDS))
    wait_until_whole(namespace, ONE)
    namespace.apply(compiled_on_cards(buckets=TWO, replicas=CARDS))
    wait_until_lent(namespace)
    kill_operator(kubectl)
    wait_until_whole(namespace, TWO)


def test_replicas_compile_one_by_one_where_borrowing_is_not_allowed(namespace: Namespace, on_cards: str) -> None:
    namespace.apply(compiled_on_cards(buckets=ONE, replicas=CARDS, compile={"borrow": False}))
    wait_until_whole(namespace, ONE)
    namespace.apply(compiled_on_cards(buckets=TWO, replicas=CARDS, compile={"borrow": False}))
    wait_until_whole(namespace, TWO)
    assert placement(namespace)["method"] == "InitContainer"
    assert "spec.compile.borrow is false" in placement(namespace)["message"]


def test_an_operator_killed_while_replicas_compile_changes_nothing(
    namespace: Namespace, on_cards: str, kubectl: Kubectl
) -> None:
    inside = {"placement": "InitContainer"}
    namespace.apply(compiled_on_cards(buckets=TWO, replicas=CARDS, compile=inside))
    namespace.wait(lambda: len(replicas(namespace)), lambda count: count > 0, 60)
    kill_operator(kubectl)
    wait_until_whole(namespace, TWO)
    namespace.apply(compiled_on_cards(buckets=THREE, replicas=CARDS, compile=inside))
    wait_until_whole(namespace, THREE)
    assert placement(namespace) == {"method": "InitContainer"}


def test_a_job_that_may_not_borrow_waits_for_a_card_and_takes_one_that_becomes_free(
    namespace: Namespace, on_cards: str
) -> None:
    alone = {"placement": "Job", "borrow": False}
    namespace.apply(compiled_on_cards(buckets=ONE, replicas=CARDS, compile=alone))
    wait_until_whole(namespace, ONE)
    namespace.apply(compiled_on_cards(buckets=TWO, replicas=CARDS, compile=alone))
    waiting = namespace.wait_reason("WaitingForAccelerator")
    assert f"Insufficient {RESOURCE}" in waiting["message"]
    assert condition(namespace.service(), "Stalled")["status"] == "True"
    assert len(replicas(namespace)) == CARDS
    namespace.run("scale", "sdxl/studio", f"--replicas={CARDS - 1}")
    namespace.wait(lambda: placement(namespace), lambda found: found == {"method": "Job"}, 120)
    namespace.wait_ready(seconds=240)
