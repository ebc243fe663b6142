"""A service with adapters and a refiner: what it waits for, who shares them, and when they go."""

import json

import pytest

from sdxl_operator.cluster import Forbidden
from sdxl_operator.naming import API_VERSION, MODEL, SERVICE, Key, Object, Ref, uses_model_label
from tests.operator.builders import NAMESPACE
from tests.operator.world import Life, served, variables

PIXEL = {"name": "pixel", "source": "demo://pixel"}
BOTH: Object = {"model": {"adapters": [PIXEL], "refiner": {"source": "demo://shapes-refiner"}}}
DELETE: Object = {"retention": "Delete"}


def models(life: Life) -> dict[str, Object]:
    """The SDXLModels by their source."""
    return {obj["spec"]["source"]: obj for obj in life.cluster.all(MODEL)}


def only_for(life: Life, content: str, end: Object | None) -> None:
    """Fetch Jobs of this content end so, or go on for ever; the others succeed."""

    def outcome(pod: Object) -> Object | None:
        return end if variables(pod)["SDXL_MODEL_CONTENT"] == content else dict(life.world._success(pod))

    life.world.outcome["fetch"] = outcome


async def relist(life: Life) -> None:
    """The pass that lists everything."""
    for obj in life.cluster.all(MODEL):
        life.enqueue(Key(MODEL, NAMESPACE, obj["metadata"]["name"]))
    await life.settle()


async def test_a_service_with_adapters_and_a_refiner_becomes_ready_with_each_fetched_once() -> None:
    life = await served(BOTH)
    fetched = [job["metadata"]["labels"]["sdxl.dev/model"] for job in life.cluster.all("Job") if "fetch" in str(job)]
    assert sorted(fetched) == sorted(obj["metadata"]["name"] for obj in life.cluster.all(MODEL))
    status = life.service()["status"]
    assert status["refiner"] == models(life)["demo://shapes-refiner"]["metadata"]["name"]
    assert status["adapters"] == [{"name": "pixel", "model": models(life)["demo://pixel"]["metadata"]["name"]}]
    for obj in life.cluster.all(MODEL):
        assert obj["status"]["usedBy"] == ["studio"]
    assert "the adapter pixel" in life.condition("ModelReady")["message"]


@pytest.mark.parametrize(("content", "words"), [("Adapter", "the adapter pixel"), ("Refiner", "the refiner")])
async def test_no_replica_starts_before_all_files_are_there_and_the_message_says_which_are_not(
    content: str, words: str
) -> None:
    life = Life()
    only_for(life, content, None)
    life.profile()
    life.create(BOTH)
    await life.wait(30)
    assert life.reason() == life.reason("ModelReady") == "Fetching"
    assert life.condition()["message"].startswith(words)
    assert life.reason("BankReady") == "Compiled", "the bank needs the model alone"
    assert life.cluster.all("Deployment") == []
    del life.world.outcome["fetch"]
    await life.settle()
    assert life.is_ready()


async def test_an_adapter_that_cannot_be_fetched_is_named_and_correcting_it_recovers() -> None:
    life = Life()
    words = json.dumps({"error": {"reason": "ModelMissing", "message": "/models/lora is empty"}})
    only_for(life, "Adapter", {"exitCode": 1, "message": words, "finishedAt": life.clock.text()})
    life.profile()
    life.create({"model": {"adapters": [{"name": "ink", "source": "pvc://loras/lora"}]}})
    await life.until(lambda: life.reason() == "ModelMissing", "the missing file")
    assert life.condition()["message"].startswith("the adapter ink (pvc-loras-lora-")
    assert "/models/lora is empty" in life.condition()["message"]
    del life.world.outcome["fetch"]
    life.change(model={"adapters": [PIXEL]})
    await life.settle()
    assert life.is_ready()


async def test_an_adapter_whose_rank_is_too_high_is_refused_and_the_old_replicas_stay() -> None:
    life = await served()
    before = life.cluster.named("Deployment")["spec"]
    life.change(model={"adapters": [{**PIXEL, "maximumRank": 4}]})
    await life.settle()
    assert life.reason() == life.reason("Accepted") == "AdapterRankTooHigh"
    assert "pixel has rank 8, its maximumRank is 4" in life.condition()["message"]
    assert life.cluster.named("Deployment")["spec"] == before
    life.change(model={"adapters": [{**PIXEL, "maximumRank": 8}]})
    await life.settle()
    assert life.is_ready()
    assert models(life)["demo://pixel"]["status"]["rank"] == 8


async def test_an_adapter_more_replaces_the_replicas_only_once_it_is_there() -> None:
    life = await served()
    before = life.cluster.named("Deployment")["spec"]["template"]
    only_for(life, "Adapter", None)
    life.change(model={"adapters": [PIXEL]})
    await life.wait(20)
    assert life.cluster.named("Deployment")["spec"]["template"] == before
    assert life.reason("Available") == "MinimumAvailable"
    del life.world.outcome["fetch"]
    await life.settle()
    assert life.is_ready()
    assert life.world.compiled == [["128x128b1"]], "nothing is compiled again"
    (pod,) = (pod for pod in life.cluster.all("Pod") if "job-name" not in pod["metadata"]["labels"])
    assert [item["name"] for item in json.loads(variables(pod)["SDXL_ADAPTERS"])] == ["pixel"]


async def test_an_adapter_is_shared_and_stays_until_its_last_user_has_gone() -> None:
    change = {"model": {**DELETE, "adapters": [PIXEL]}}
    life = await served(change)
    life.create({"model": {**DELETE, "adapters": [{"name": "blocks", "source": "demo://pixel"}]}}, name="second")
    await life.settle()
    assert models(life)["demo://pixel"]["status"]["usedBy"] == ["second", "studio"]
    life.cluster.remove(Ref(API_VERSION, SERVICE, NAMESPACE, "studio"))
    await life.wait(800)
    assert models(life)["demo://pixel"]["status"]["usedBy"] == ["second"]
    life.change("second", model={"adapters": []})
    await life.settle()
    await relist(life)
    await life.wait(800)
    assert set(models(life)) == {"demo://shapes"}
    assert life.is_ready("second")


async def test_an_adapter_stays_while_pods_mount_it_although_no_spec_names_it_any_more() -> None:
    life = await served({"model": {**DELETE, "adapters": [PIXEL]}})
    only_for(life, "Refiner", None)  # so the next revision does not come
    life.change(model={"adapters": [], "refiner": {"source": "demo://shapes-refiner"}})
    await life.settle()
    await relist(life)
    await life.wait(900)
    assert "adapters" not in life.service()["status"]
    assert models(life)["demo://pixel"]["status"]["usedBy"] == ["studio"], "its Deployment mounts it"
    del life.world.outcome["fetch"]
    await life.settle()
    await relist(life)
    await life.wait(900)
    assert set(models(life)) == {"demo://shapes", "demo://shapes-refiner"}


async def test_what_was_in_use_stays_in_use_while_the_spec_is_not_accepted() -> None:
    life = await served({"model": {**DELETE, **BOTH["model"]}})
    before = {name: life.service()["status"][name] for name in ("model", "refiner", "adapters")}
    life.change(accelerator={"profile": "absent"})
    await life.settle()
    await life.wait(800)
    assert life.reason() == "ProfileNotFound"
    assert {name: life.service()["status"][name] for name in before} == before
    assert len(models(life)) == 3


async def test_what_0_1_0_left_goes_on_as_it_is_and_its_deployment_learns_the_new_label() -> None:
    life = await served()
    name = life.service()["status"]["model"]
    stored = life.cluster.named("ControllerRevision")
    container = stored["data"]["template"]["spec"]["containers"][0]
    older = {**container, "env": [item for item in container["env"] if "SIGNING" not in item["name"]]}
    volumes = [item for item in stored["data"]["template"]["spec"]["volumes"] if "secret" not in item]
    template = {"spec": {"containers": [older], "volumes": volumes}}
    life.cluster.edit(Ref.of(stored), data={"uses": {"models": None, "model": name}, "template": template})
    life.cluster.remove(Ref.of(life.cluster.named("Secret")))
    life.cluster.refuse["Secret"] = Forbidden(403, "Forbidden", "the role is that of before")
    life.restart()
    labels = {uses_model_label(name): None, "sdxl.dev/uses-model": name}
    deployment = Ref.of(life.cluster.named("Deployment"))
    life.cluster.edit(deployment, metadata={"labels": labels}, spec={"template": template})
    life.enqueue(Key(SERVICE, NAMESPACE, "studio"))
    await life.settle()
    after = life.cluster.named("Deployment")
    assert after["metadata"]["labels"][uses_model_label(name)] == "true"
    assert after["spec"]["template"]["spec"]["containers"] == [older], "nobody is restarted"
    life.change(replicas=2)
    await life.settle()
    assert life.is_ready()
    assert life.reason("UpdateAvailable") == "NewerTemplate"
    assert models(life)["demo://shapes"]["status"]["usedBy"] == ["studio"]


async def test_a_bucket_for_longer_prompts_is_compiled_under_a_name_of_its_own() -> None:
    life = await served(
        {"buckets": [{"width": 128, "height": 128}, {"width": 128, "height": 128, "promptTokens": 154}]}
    )
    assert life.world.compiled == [["128x128b1", "128x128b1t154"]]
    assert [row["key"] for row in life.service()["status"]["buckets"]] == ["128x128b1", "128x128b1t154"]
    assert life.service()["status"]["bucketSummary"] == "2/2"
