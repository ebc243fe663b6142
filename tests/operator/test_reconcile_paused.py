"""A paused service: nothing is applied for it, its status says so and stays true, and it resumes."""

import pytest

from sdxl_operator.naming import API_VERSION, BANK, PAUSED_ANNOTATION, SERVICE, Key, Object, Ref
from tests.operator.builders import NAMESPACE
from tests.operator.world import Life, served

STUDIO = Ref(API_VERSION, SERVICE, NAMESPACE, "studio")
TWO_BUCKETS = [{"width": 128, "height": 128}, {"width": 128, "height": 160}]


def pause(life: Life, value: str = "true") -> None:
    life.cluster.edit(STUDIO, metadata={"annotations": {PAUSED_ANNOTATION: value}})


def resume(life: Life) -> None:
    life.cluster.edit(STUDIO, metadata={"annotations": {PAUSED_ANNOTATION: None}})


def specs(life: Life) -> dict[str, Object]:
    """What the operator applies for a service, without what the world makes of it."""
    kinds = ("Deployment", "Service", "PodDisruptionBudget", "ControllerRevision", "SDXLModel", "SDXLTuneBank", "Job")
    found = {f"{kind}/{obj['metadata']['name']}": obj for kind in kinds for obj in life.cluster.all(kind)}
    return {name: obj.get("spec") or obj.get("data") or {} for name, obj in found.items()}


async def test_a_paused_service_serves_on_and_says_that_it_is_paused() -> None:
    life = await served({"replicas": 2})
    pause(life)
    await life.settle()
    assert life.condition()["status"] == "True"
    assert [life.reason(), life.reason("Progressing")] == ["Paused"] * 2
    assert "sdxl.dev/paused is true" in life.condition()["message"]
    assert [life.reason(kind) for kind in ("Accepted", "ModelReady", "BankReady", "Available")] == [
        "Accepted",
        "ModelPresent",
        "Compiled",
        "MinimumAvailable",
    ]
    assert life.service()["status"]["readyReplicas"] == 2


@pytest.mark.parametrize(
    "change",
    [
        {"replicas": 5},
        {"suspend": True},
        {"expose": {"service": {"port": 81}}},
        {"buckets": TWO_BUCKETS},
        {"precision": "BF16"},
        {"model": {"variant": "fp16"}},
        {"accelerator": {"profile": "absent"}},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_no_edit_of_a_paused_service_moves_anything_and_all_of_it_is_carried_out_afterwards(
    change: Object,
) -> None:
    life = await served()
    pause(life)
    await life.settle()
    before = specs(life)
    life.change(**change)
    await life.wait(60)
    assert specs(life) == before
    assert life.condition()["status"] == "False"
    assert [life.reason(), life.reason("Stalled")] == ["Paused"] * 2
    assert "Generation 2 of the spec waits" in life.condition()["message"]
    assert life.service()["status"]["observedGeneration"] == 1
    assert life.reason("Available") == "MinimumAvailable"
    assert life.service()["status"]["readyReplicas"] == 1
    life.profile("absent")
    resume(life)
    await life.settle()
    assert life.service()["status"]["observedGeneration"] == 2
    assert specs(life) != before
    assert life.reason() in ("Ready", "Suspended")


async def test_the_message_says_what_the_waiting_edit_costs() -> None:
    life = await served()
    pause(life)
    life.change(buckets=TWO_BUCKETS)
    await life.settle()
    assert life.condition()["message"].endswith("waits: Recompile (buckets[128x160b1]).")
    life.change(buckets=[])
    await life.settle()
    assert "cannot be carried out: spec.buckets" in life.condition()["message"]


async def test_what_drifts_while_paused_is_left_and_told_and_mended_afterwards() -> None:
    life = await served()
    pause(life)
    life.cluster.remove(Ref("v1", "Service", NAMESPACE, "studio"))
    life.cluster.edit(Ref("apps/v1", "Deployment", NAMESPACE, "studio"), spec={"replicas": 0})
    await life.settle()
    assert life.cluster.all("Service") == []
    assert life.condition()["status"] == "False"
    assert life.reason() == "Paused"
    assert "0 of 1 replicas ready" in life.condition()["message"]
    resume(life)
    await life.settle()
    assert life.is_ready()
    assert len(life.cluster.all("Service")) == 1


async def test_a_service_that_was_paused_before_its_first_turn_gets_nothing_until_it_is_resumed() -> None:
    life = Life()
    life.profile()
    life.create()
    pause(life)
    await life.settle()
    assert specs(life) == {}
    assert life.reason() == "Paused"
    assert life.condition()["status"] == "False"
    resume(life)
    await life.settle()
    assert life.is_ready()


async def test_a_compile_job_at_work_goes_on_and_an_added_bucket_does_not_reach_it() -> None:
    life = await served()
    life.world.outcome["compile"] = lambda pod: None
    life.change(buckets=TWO_BUCKETS)
    await life.until(lambda: life.reason() == "Compiling", "the Job at work")
    jobs = [job["metadata"]["name"] for job in life.cluster.all("Job")]
    pause(life)
    life.change(buckets=[*TWO_BUCKETS, {"width": 64, "height": 64}])
    await life.wait(30)
    assert [job["metadata"]["name"] for job in life.cluster.all("Job")] == jobs
    del life.world.outcome["compile"]
    await life.settle()
    assert sorted(entry["key"] for entry in life.cluster.named(BANK)["status"]["entries"]) == ["128x128b1", "128x160b1"]
    resume(life)
    await life.settle()
    assert life.is_ready()
    assert len(life.cluster.named(BANK)["status"]["entries"]) == 3


async def test_a_paused_service_can_be_deleted_with_all_that_it_owns() -> None:
    life = await served()
    pause(life)
    await life.settle()
    life.cluster.remove(STUDIO)
    await life.settle()
    assert life.cluster.all("Deployment") == life.cluster.all("ControllerRevision") == life.cluster.all("Service") == []
    assert life.cluster.named(BANK)["status"]["usedBy"] == []


async def test_any_other_value_of_the_annotation_pauses_nothing() -> None:
    life = await served()
    pause(life, "false")
    life.change(replicas=2)
    await life.settle()
    assert life.is_ready()
    assert life.service()["status"]["readyReplicas"] == 2


async def test_a_paused_service_is_quiet() -> None:
    life = await served()
    pause(life)
    life.change(precision="BF16")
    await life.settle()
    writes = len(life.cluster.writes)
    await life.turn(Key(SERVICE, NAMESPACE, "studio"))
    await life.wait(120)
    assert life.cluster.writes[writes:] == []


async def test_pausing_and_resuming_are_told_as_events() -> None:
    life = await served()
    pause(life)
    await life.settle()
    assert "Paused" in [reason for name, reason, _ in life.cluster.recorded if name == "studio"]
