"""What goes wrong around a service, what its status says then, and that correcting it recovers without deleting."""

import json
from itertools import pairwise
from typing import Any

import pytest

from sdxl_operator.cluster import Forbidden, Invalid
from sdxl_operator.naming import BANK, MODEL, Object, Ref
from tests.operator.builders import NAMESPACE
from tests.operator.world import Life, served


def failing(life: Life, reason: str = "Internal", message: str = "it broke", exit_code: int = 1) -> Any:
    """The end of a Job's pod that failed."""

    def end(pod: Object) -> Object:
        words = json.dumps({"error": {"reason": reason, "message": message}})
        return {"exitCode": exit_code, "reason": "Error", "message": words, "finishedAt": life.clock.text()}

    return end


def started(change: dict[str, Any] | None = None) -> Life:
    life = Life()
    life.profile()
    life.create(change)
    return life


@pytest.mark.parametrize(("component", "kind"), [("fetch", MODEL), ("compile", BANK)])
async def test_a_failed_job_is_counted_once_retried_after_its_pause_and_recovers(component: str, kind: str) -> None:
    life = started()
    life.world.outcome[component] = failing(life)
    await life.until(lambda: bool(life.cluster.all(kind)) and "lastFailure" in status_of(life, kind), "a failure")
    await life.wait(8)
    assert status_of(life, kind)["failures"] == 1
    assert status_of(life, kind)["lastFailure"]["message"] == "it broke"
    assert "it broke" in life.condition()["message"]
    assert life.service()["status"]["lastFailure"]["component"] == component
    writes = len(life.cluster.changes)
    await life.wait(3)
    assert len(life.cluster.changes) == writes, "waiting is quiet"
    await life.until(lambda: status_of(life, kind)["failures"] == 2, "the second try")
    del life.world.outcome[component]
    await life.until(life.is_ready, "ready after the pause")
    assert "failures" not in status_of(life, kind)


def status_of(life: Life, kind: str) -> Object:
    return life.cluster.named(kind).get("status") or {}


async def test_the_pauses_between_tries_grow() -> None:
    life = started()
    tries: list[Any] = []

    def end(pod: Object) -> Object:
        tries.append(life.clock.now)
        return dict(failing(life)(pod))

    life.world.outcome["fetch"] = end
    await life.wait(150)
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(tries)]
    assert len(gaps) >= 3
    assert gaps == sorted(gaps)
    assert gaps[0] >= 15
    assert gaps[2] >= 60


async def test_a_result_that_was_lost_is_made_once_more() -> None:
    life = started()
    world = life.world
    lost: list[str] = []

    def end(pod: Object) -> Object:
        good = world._success(pod)
        if not lost:
            lost.append(pod["metadata"]["name"])
            return {**good, "message": ""}
        return good

    world.outcome["fetch"] = end
    await life.settle()
    assert life.is_ready()
    assert len(lost) == 1


async def test_a_foreign_service_of_that_name_is_named_and_never_overwritten() -> None:
    life = started()
    metadata = {"name": "studio", "namespace": NAMESPACE}
    foreign = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 1}]}}
    before = life.cluster.put(foreign)
    await life.settle()
    assert life.reason() == life.reason("Stalled") == "NameTaken"
    assert "studio" in life.condition()["message"]
    assert life.cluster.named("Service") == before
    life.cluster.remove(next(ref for ref in life.cluster.objects if ref.kind == "Service"))
    await life.settle()
    assert life.is_ready()


async def test_a_foreign_claim_of_a_models_name_is_named_and_never_overwritten() -> None:
    life = await served()
    name = life.cluster.named(MODEL)["metadata"]["name"]
    life = started()
    metadata = {"name": name, "namespace": NAMESPACE}
    before = life.cluster.put(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": {}, "status": {}}
    )
    await life.settle()
    assert life.reason() == "NameTaken"
    assert life.cluster.named("PersistentVolumeClaim")["spec"] == before["spec"]


async def test_an_unknown_profile_is_named_and_making_it_recovers() -> None:
    life = Life()
    life.profile("gpu")
    life.create()
    await life.settle()
    assert life.reason() == "ProfileNotFound"
    assert "gpu" in life.condition()["message"]
    assert life.cluster.all("Deployment") == life.cluster.all(MODEL) == []
    life.profile()
    await life.settle()
    assert life.is_ready()


@pytest.mark.parametrize("kind", ["Job", "Deployment", "Service", "SDXLModel", "PersistentVolumeClaim"])
async def test_a_child_that_the_api_server_refuses_is_told_in_its_words_and_recovers(kind: str) -> None:
    life = started()
    life.cluster.refuse[kind] = Forbidden(403, "Forbidden", f"quota says no to {kind}")
    await life.settle()
    assert life.reason() == "ChildRefused", "\n".join(life.conditions())
    assert f"quota says no to {kind}" in life.condition()["message"]
    del life.cluster.refuse[kind]
    await life.wait(5)
    await life.settle()
    assert life.is_ready(), "\n".join(life.conditions())


async def test_an_invalid_revision_is_told_and_the_old_replicas_stay() -> None:
    life = await served()
    before = life.cluster.named("Deployment")["spec"]
    life.cluster.refuse["ControllerRevision"] = Invalid(422, "Invalid", "too large")
    life.change(server={"env": [{"name": "A", "value": "1"}]})
    await life.settle()
    assert life.reason() == "ChildRefused"
    assert life.reason("Available") == "MinimumAvailable"
    assert life.cluster.named("Deployment")["spec"] == before


async def test_an_edit_that_does_not_divide_is_refused_and_the_old_replicas_stay() -> None:
    life = await served()
    before = life.cluster.named("Deployment")["spec"]
    life.change(buckets=[{"width": 136, "height": 128}])
    await life.settle()
    assert life.reason() == life.reason("Accepted") == "BucketNotDivisible"
    assert "128x128" in life.condition()["message"]
    assert "160x128" in life.condition()["message"]
    assert life.cluster.named("Deployment")["spec"] == before
    assert life.reason("Available") == "MinimumAvailable"
    life.change(buckets=[{"width": 160, "height": 128}])
    await life.settle()
    assert life.is_ready()


async def test_a_job_without_pods_tells_what_refused_them() -> None:
    life = started()
    life.world.step = lambda: None  # type: ignore[method-assign]
    await life.wait(3)
    job = life.cluster.named("Job")
    life.cluster.warnings["Job", job["metadata"]["name"]] = "exceeded quota: cards"
    await life.wait(12)
    assert life.reason() == "ChildRefused"
    assert "exceeded quota: cards" in life.condition()["message"]


async def test_events_are_asked_for_only_of_what_does_not_start() -> None:
    life = await served()
    asked: list[str] = []

    async def events(ref: Any) -> list[Object]:
        asked.append(ref.name)
        return []

    life.cluster.events = events  # type: ignore[method-assign]
    life.change(replicas=2)
    await life.settle()
    assert life.is_ready()
    assert asked == []


async def test_a_replica_that_does_not_answer_changes_no_number() -> None:
    life = await served()
    before = life.service()["status"]
    life.runtime.silent = {pod["metadata"]["name"] for pod in life.cluster.all("Pod")}
    life.change(server={"labels": {}})
    await life.settle()
    found = life.service()["status"]
    assert [{**item, "observedGeneration": 1} for item in found["conditions"]] == before["conditions"]
    assert found["observedGeneration"] == 2
    assert found["coldStart"] == before["coldStart"]


async def test_a_service_whose_profile_was_removed_still_scales() -> None:
    life = await served()
    life.cluster.remove(next(Ref.of(item) for item in life.cluster.all("AcceleratorProfile")))
    life.change(replicas=3)
    await life.until(lambda: life.is_ready() and life.service()["status"]["readyReplicas"] == 3, "three replicas")


async def test_a_compile_job_without_a_word_on_a_bucket_counts_as_failed_and_is_not_asked_every_second() -> None:
    life = started()

    def end(pod: Object) -> Object:
        good = life.world._success(pod)
        words = {**json.loads(good["message"]), "entries": []}
        return {**good, "message": json.dumps(words)}

    life.world.outcome["compile"] = end
    await life.until(lambda: life.reason() == "CompileFailed", "the missing word")
    assert "without a word on" in life.condition()["message"]
    writes = len(life.cluster.changes)
    await life.wait(30)
    assert len(life.cluster.changes) == writes


async def test_a_foreign_list_of_accepted_digests_is_left_alone_and_named() -> None:
    life = started()
    await life.until(lambda: bool(life.cluster.all(BANK)), "the bank")
    name = f"{life.cluster.named(BANK)['metadata']['name']}-accepted"
    metadata = {"name": name, "namespace": NAMESPACE}
    foreign = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mine": "yes"}}
    life.cluster.put(foreign)
    await life.until(lambda: life.reason() == "NameTaken", "the taken name")
    assert life.cluster.named("ConfigMap", name)["data"] == {"mine": "yes"}
    life.cluster.remove(Ref.of(foreign))
    await life.until(life.is_ready, "ready once it is gone")
