"""Where buckets are compiled while accelerators are scarce: the decision, and what becomes of it in a cluster."""

import json
from typing import Any

import pytest

from sdxl_operator.api.service import Placement
from sdxl_operator.naming import API_VERSION, BANK, SERVICE, Key, Object, Ref
from sdxl_operator.plan.placement import Candidate, Method, Placed, by_wish, of_job, shortage
from tests.operator.builders import NAMESPACE
from tests.operator.world import Life, served

CARD = "example.org/card"
SAID = f"0/1 nodes are available: 1 Insufficient {CARD}."
ON_CARDS: Object = {"resource": {"name": CARD}}
TWO_BUCKETS: Object = {"buckets": [{"width": 128, "height": 128}, {"width": 160, "height": 128}]}


def candidate(name: str = "studio", holding: int = 2, **wish: Any) -> Candidate:
    return Candidate(name, holding, **wish)


@pytest.mark.parametrize(
    ("sentence", "said", "candidates", "method", "lender"),
    [
        ("a Job that lacks nothing stays a Job", "", [candidate()], Method.JOB, None),
        ("a replica lends its accelerator", SAID, [candidate()], Method.BORROWED, "studio"),
        ("the service with most replicas lends", SAID, [candidate("a", 1), candidate("b", 3)], Method.BORROWED, "b"),
        ("even the only replica lends, or nothing would ever move", SAID, [candidate("a", 1)], Method.BORROWED, "a"),
        (
            "who may not lend is passed over",
            SAID,
            [candidate("a", 3, borrow=False), candidate("b", 1)],
            Method.BORROWED,
            "b",
        ),
        ("without a lender pods compile", SAID, [candidate(borrow=False)], Method.INIT_CONTAINER, None),
        ("unless a Job was asked for", SAID, [candidate(placement=Placement.JOB, borrow=False)], Method.JOB, None),
        ("nobody who holds one can be asked", SAID, [candidate(holding=0)], Method.JOB, None),
    ],
)
def test_where_a_job_is_placed(
    sentence: str, said: str, candidates: list[Candidate], method: Method, lender: str | None
) -> None:
    found = of_job(said, True, candidates, Placed(), CARD)
    assert (found.method, found.lender) == (method, lender), sentence
    assert bool(found.message) == bool(said)


def test_a_lender_stays_one_until_the_job_has_ended_and_no_longer() -> None:
    lent = Placed(Method.BORROWED, "b", "why")
    assert of_job("", True, [candidate("a", 5), candidate("b", 0)], lent, CARD) == lent
    assert of_job("", False, [candidate("b", 0)], lent, CARD) == Placed(Method.BORROWED, None, "why")


def test_a_lender_that_may_lend_no_longer_has_its_accelerator_back() -> None:
    lent = Placed(Method.BORROWED, "b", "why")
    assert of_job("", True, [candidate("b", 1, borrow=False)], lent, CARD).lender is None
    assert of_job("", True, [], lent, CARD).lender is None


def test_pods_compile_where_every_user_of_the_bank_says_so() -> None:
    inside = candidate(placement=Placement.INIT_CONTAINER)
    assert by_wish([inside, inside]) is Method.INIT_CONTAINER
    assert by_wish([inside, candidate()]) is Method.JOB
    assert by_wish([]) is Method.JOB


def test_only_a_shortage_of_the_accelerator_that_lasts_counts() -> None:
    def pod(message: str, **spec: str) -> Object:
        return {"spec": spec, "status": {"conditions": [{"type": "PodScheduled", "message": message}]}}

    assert shortage(pod(SAID), CARD, 11) == SAID
    assert shortage(pod(SAID), CARD, 9) == ""
    assert shortage(pod(SAID, nodeName="node"), CARD, 11) == ""
    assert shortage(pod("0/1 nodes are available: 1 Insufficient memory."), CARD, 11) == ""


async def on_cards(cards: int, replicas: int, **change: Any) -> Life:
    """A service that runs on all cards there are."""
    life = await served({"replicas": replicas, **change}, profile=ON_CARDS, cards=cards)
    assert replica_count(life) == replicas
    return life


def replica_count(life: Life) -> int:
    deployment = life.cluster.named("Deployment")
    return int(deployment["spec"]["replicas"])


def placement(life: Life) -> Object:
    found: Object = life.cluster.named(BANK)["status"]["placement"]
    return found


async def test_a_replica_goes_down_for_the_job_and_comes_back_when_it_ended() -> None:
    life = await on_cards(2, 2)
    life.change(**TWO_BUCKETS)
    await life.until(lambda: replica_count(life) == 1, "a replica is lent")
    assert placement(life) == {
        "method": "Borrowed",
        "lender": "studio",
        "message": f"no {CARD} is free: one of the 2 replicas of SDXLService studio lends its own until the Job ends",
    }
    assert life.condition("Ready")["reason"] in ("WaitingForAccelerator", "Compiling")
    assert life.condition("Available")["status"] == "True"
    await life.until(life.is_ready, "ready again")
    assert replica_count(life) == 2
    assert placement(life)["method"] == "Borrowed"
    assert "lender" not in placement(life)
    assert life.world.compiled[-1] == ["128x128b1", "160x128b1"]


async def test_the_only_replica_lends_too_and_status_says_so() -> None:
    life = await on_cards(1, 1)
    life.change(**TWO_BUCKETS)
    life.world.outcome["compile"] = lambda pod: None
    await life.until(lambda: life.condition("Available")["reason"] == "AcceleratorLent", "the replica is lent")
    assert life.condition("Ready")["reason"] in ("WaitingForAccelerator", "Compiling")
    del life.world.outcome["compile"]
    await life.until(life.is_ready, "ready again")


async def test_a_job_that_fails_gives_the_accelerator_back_while_it_pauses() -> None:
    life = await on_cards(2, 2)
    life.change(**TWO_BUCKETS)
    life.world.outcome["compile"] = lambda pod: {"exitCode": 1, "message": "boom", "finishedAt": life.clock.text()}
    await life.until(lambda: bool(life.cluster.named(BANK)["status"].get("lastFailure")), "the Job failed")
    await life.until(lambda: replica_count(life) == 2, "the replica is back")
    del life.world.outcome["compile"]
    await life.until(life.is_ready, "ready again")


async def test_an_operator_that_was_killed_while_a_replica_was_lent_gives_it_back() -> None:
    life = await on_cards(2, 2)
    life.change(**TWO_BUCKETS)
    await life.until(lambda: replica_count(life) == 1, "a replica is lent")
    life.restart()
    for obj in (*life.cluster.all(SERVICE), *life.cluster.all(BANK)):
        life.enqueue(Key(obj["kind"], NAMESPACE, obj["metadata"]["name"]))
    await life.until(life.is_ready, "ready again")
    assert replica_count(life) == 2


async def test_a_bank_that_is_deleted_while_it_borrows_gives_the_replica_back() -> None:
    life = await on_cards(2, 2)
    life.change(**TWO_BUCKETS)
    life.world.outcome["compile"] = lambda pod: None
    await life.until(lambda: replica_count(life) == 1, "a replica is lent")
    bank = life.cluster.named(BANK)["metadata"]["name"]
    del life.world.outcome["compile"]
    life.cluster.remove(Ref(API_VERSION, BANK, NAMESPACE, bank))
    await life.until(life.is_ready, "ready again")
    assert replica_count(life) == 2


async def test_reverting_the_edit_gives_the_replica_back_at_once() -> None:
    life = await on_cards(2, 2)
    life.change(**TWO_BUCKETS)
    life.world.outcome["compile"] = lambda pod: None
    await life.until(lambda: replica_count(life) == 1, "a replica is lent")
    life.change(buckets=[{"width": 128, "height": 128}])
    await life.until(life.is_ready, "ready again")
    assert replica_count(life) == 2


async def test_a_job_that_nobody_lends_to_waits_and_says_what_is_scarce() -> None:
    life = await on_cards(2, 2, compile={"placement": "Job", "borrow": False})
    life.change(**TWO_BUCKETS)
    await life.until(lambda: life.condition("Ready")["reason"] == "WaitingForAccelerator", "it waits")
    assert SAID in life.condition("Ready")["message"]
    assert life.condition("Stalled")["status"] == "True"
    assert replica_count(life) == 2
    life.world.cards = 3
    await life.until(life.is_ready, "ready again")
    assert placement(life) == {"method": "Job"}


async def test_a_service_that_is_paused_lends_nothing() -> None:
    life = await on_cards(2, 2)
    life.create({"replicas": 0, **TWO_BUCKETS}, name="second")
    life.cluster.edit(
        Ref(API_VERSION, SERVICE, NAMESPACE, "studio"), metadata={"annotations": {"sdxl.dev/paused": "true"}}
    )
    await life.until(lambda: life.reason("Ready", of=BANK) == "WaitingForAccelerator", "the Job waits")
    await life.wait(60)
    assert replica_count(life) == 2
    assert "lender" not in placement(life)


def init_container(life: Life) -> Object:
    found: Object = life.cluster.named("Deployment")["spec"]["template"]["spec"]["initContainers"][0]
    return found


async def test_replicas_compile_before_they_serve_where_that_was_asked_for() -> None:
    life = await on_cards(1, 1, compile={"placement": "InitContainer"})
    assert life.cluster.all("Job") == [life.cluster.named("Job")], "the model's own"
    assert life.cluster.named("Job")["metadata"]["labels"]["app.kubernetes.io/component"] == "fetch"
    assert placement(life) == {"method": "InitContainer"}
    container = init_container(life)
    assert container["args"] == ["compile"]
    assert container["resources"]["limits"] == {CARD: "1"}
    assert life.reason("BankReady") == "Compiled"
    life.change(**TWO_BUCKETS)
    await life.until(lambda: life.cluster.named(BANK)["status"]["summary"] == "2/2", "both are compiled")
    await life.until(life.is_ready, "ready again")
    assert life.world.compiled[-1] == ["128x128b1", "160x128b1"]


async def test_what_a_replica_compiles_is_accepted_for_the_others() -> None:
    life = await on_cards(2, 2, compile={"placement": "InitContainer"})
    accepted = next(item for item in life.cluster.all("ConfigMap") if item["metadata"]["name"].endswith("-accepted"))
    assert "128x128b1" in accepted["data"]["accepted.json"]


async def test_a_replica_that_compiles_says_so_and_one_that_fails_says_why() -> None:
    life = Life()
    life.world.cards = 1
    life.world.outcome["compile"] = lambda pod: None
    life.profile(change=ON_CARDS)
    life.create({"compile": {"placement": "InitContainer"}})
    await life.until(lambda: "compiles before it serves" in life.condition("Ready").get("message", ""), "it compiles")
    assert life.reason() == "Compiling"
    error = {"error": {"reason": "VolumeFull", "message": "no space left", "bucket": "128x128b1"}}
    ended = {"exitCode": 1, "message": json.dumps(error)}
    life.world.outcome["compile"] = lambda pod: {**ended, "finishedAt": life.clock.text()}
    await life.until(lambda: life.reason() == "VolumeFull", "it failed")
    assert life.cluster.named(BANK)["status"]["lastFailure"]["reason"] == "VolumeFull"
    del life.world.outcome["compile"]
    await life.until(life.is_ready, "ready after all")


async def test_where_nobody_lends_replicas_compile_and_the_old_ones_make_room_one_by_one() -> None:
    life = await on_cards(2, 2, compile={"borrow": False})
    life.change(**TWO_BUCKETS)
    await life.until(lambda: placement(life)["method"] == "InitContainer", "pods compile")
    await life.until(life.is_ready, "ready again")
    assert "spec.compile.borrow is false" in placement(life)["message"]
    assert init_container(life)["args"] == ["compile"]
    assert life.cluster.named(BANK)["status"]["summary"] == "2/2"


async def test_a_service_that_compiles_in_its_replicas_and_has_none_is_scaled_to_zero() -> None:
    life = await on_cards(1, 1, compile={"placement": "InitContainer"})
    life.change(replicas=0, **TWO_BUCKETS)
    await life.until(lambda: life.reason() == "ScaledToZero", "it is at zero")
    life.change(replicas=1)
    await life.until(lambda: life.is_ready() and life.reason() == "Ready", "it is back")
