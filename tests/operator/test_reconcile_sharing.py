"""What outlives a service: models and banks, who uses them, and when they go."""

import json
from collections.abc import Callable

import pytest

from sdxl_operator.naming import API_VERSION, BANK, MODEL, SERVICE, Key, Object, Ref
from tests.operator.builders import NAMESPACE
from tests.operator.world import Life, served

DELETE = {"model": {"retention": "Delete"}, "tuneBank": {"retention": "Delete"}}


def delete_service(life: Life, name: str = "studio") -> None:
    life.cluster.remove(Ref(API_VERSION, SERVICE, NAMESPACE, name))


def delete_claim(life: Life, name: str) -> None:
    life.cluster.remove(Ref("v1", "PersistentVolumeClaim", NAMESPACE, name))


async def resync(life: Life) -> None:
    """The pass that lists everything."""
    for kind in (SERVICE, MODEL, BANK):
        for obj in life.cluster.all(kind):
            life.enqueue(Key(kind, NAMESPACE, obj["metadata"]["name"]))
    await life.settle()


async def test_a_deleted_service_leaves_the_model_and_the_bank_that_are_retained() -> None:
    life = await served()
    delete_service(life)
    await life.settle()
    await life.wait(700)
    await resync(life)
    left = {ref.kind for ref in life.cluster.objects}
    assert {MODEL, BANK, "PersistentVolumeClaim"} <= left
    assert not left & {SERVICE, "Deployment", "Service", "PodDisruptionBudget", "ControllerRevision"}
    assert life.cluster.named(BANK)["status"]["usedBy"] == []
    assert life.cluster.named(MODEL)["status"]["unusedSince"]


async def test_what_is_not_retained_goes_after_the_grace_and_its_claims_with_it() -> None:
    life = await served(DELETE)
    delete_service(life)
    await life.settle()
    await life.wait(500)
    assert life.cluster.all(MODEL)
    assert life.cluster.all(BANK)
    await life.wait(200)
    assert {ref.kind for ref in life.cluster.objects} == {"AcceleratorProfile"}


async def test_a_service_that_comes_back_within_the_grace_finds_its_bank() -> None:
    life = await served(DELETE)
    delete_service(life)
    await life.wait(300)
    life.create(DELETE)
    await life.settle()
    await life.wait(700)
    assert life.is_ready()
    assert life.world.compiled == [["128x128b1"]]
    assert "unusedSince" not in life.cluster.named(BANK)["status"]


async def test_two_services_share_a_bank_that_compiles_the_union_of_their_buckets() -> None:
    life = await served()
    life.create({"buckets": [{"width": 160, "height": 128}]}, name="second")
    await life.settle()
    assert life.is_ready()
    assert life.is_ready("second")
    bank = life.cluster.named(BANK)
    assert bank["status"]["usedBy"] == ["second", "studio"]
    assert sorted(entry["key"] for entry in bank["status"]["entries"]) == ["128x128b1", "160x128b1"]
    assert life.service("studio")["status"]["bucketSummary"] == "1/1"
    delete_service(life, "second")
    await life.settle()
    assert life.cluster.named(BANK)["status"]["usedBy"] == ["studio"]
    assert life.is_ready()


async def test_one_user_that_retains_is_enough() -> None:
    life = await served(DELETE)
    life.create(name="second")
    await life.settle()
    assert life.cluster.named(BANK)["status"]["retention"] == "Retain"
    delete_service(life, "studio")
    await life.settle()
    delete_service(life, "second")
    await life.wait(800)
    assert len(life.cluster.all(BANK)) == len(life.cluster.all(MODEL)) == 1


@pytest.mark.parametrize("job_is_there", [True, False], ids=["with the finished Job", "after the Job was cleaned up"])
async def test_a_bank_whose_claim_was_deleted_is_compiled_again(job_is_there: bool) -> None:
    life = await served()
    if not job_is_there:
        for job in life.cluster.all("Job"):
            life.cluster.remove(Ref.of(job))
    deployment = life.cluster.named("Deployment")["spec"]
    delete_claim(life, life.cluster.named(BANK)["metadata"]["name"])
    await life.until(lambda: life.reason() == "Compiling", "the bank compiles again")
    await life.settle()
    assert life.world.compiled == [["128x128b1"], ["128x128b1"]]
    assert life.is_ready()
    assert life.cluster.named("Deployment")["spec"] == deployment
    assert len(life.cluster.all("PersistentVolumeClaim")) == 2


async def test_a_model_whose_claim_was_deleted_is_fetched_again() -> None:
    life = await served()
    fetched: list[str] = []

    def fetch(pod: Object) -> Object:
        fetched.append(pod["metadata"]["name"])
        return life.world._success(pod)

    life.world.outcome["fetch"] = fetch
    delete_claim(life, life.cluster.named(MODEL)["metadata"]["name"])
    await life.settle()
    assert len(fetched) == 1
    assert life.is_ready()


async def test_another_identity_replaces_the_entries_of_the_one_before() -> None:
    life = await served()
    life.world.identity = "2" * 16
    life.change(buckets=[{"width": 128, "height": 128}, {"width": 160, "height": 128}])
    await life.settle()
    bank = life.cluster.named(BANK)
    accepted = json.loads(life.cluster.named("ConfigMap")["data"]["accepted.json"])
    assert bank["status"]["identity"] == accepted["identity"] == "2" * 16
    assert set(accepted["digests"].values()) == {entry["digest"] for entry in bank["status"]["entries"]}
    assert len(accepted["digests"]) == 2


async def test_a_job_of_an_older_demand_ends_before_the_next_one_writes() -> None:
    life = Life()
    life.world.outcome["compile"] = lambda pod: None
    life.profile()
    life.create()
    await life.wait(15)
    life.change(buckets=[{"width": 160, "height": 128}])
    for _ in range(15):
        await life.tick()
        jobs = {pod["metadata"]["labels"].get("job-name") for pod in life.cluster.all("Pod")}
        assert len([job for job in jobs if job and "compile" in job]) <= 1
    del life.world.outcome["compile"]
    await life.settle()
    assert life.is_ready()
    assert life.world.compiled == [["160x128b1"]]


@pytest.mark.parametrize("kind", [MODEL, BANK])
async def test_a_job_waits_while_a_pod_of_another_one_still_runs(kind: str) -> None:
    life = Life()
    step: Callable[[], None] = life.world.step
    component = "fetch" if kind == MODEL else "compile"
    life.world.outcome[component] = lambda pod: None
    life.profile()
    life.create()
    await life.wait(20)
    pod = next(pod for pod in life.cluster.all("Pod") if component in pod["metadata"]["name"])
    lone = {**pod, "metadata": {**pod["metadata"], "name": "straggler", "ownerReferences": []}}
    lone["metadata"]["labels"] = {**pod["metadata"]["labels"], "job-name": "another"}
    life.cluster.put(lone)
    assert step is not None
    life.cluster.remove(Ref.of(next(job for job in life.cluster.all("Job") if component in job["metadata"]["name"])))
    await life.wait(10)
    assert not [job for job in life.cluster.all("Job") if component in job["metadata"]["name"]]
    assert "straggler" in life.condition("Ready", of=kind)["message"]
    life.cluster.remove(Ref.of(lone))
    del life.world.outcome[component]
    await life.settle()
    assert life.is_ready()
