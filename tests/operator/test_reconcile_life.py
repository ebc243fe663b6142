"""A service's life over an in-memory cluster: what happens first, what an edit moves, and what it leaves alone."""

import json
from typing import Any

import pytest

from sdxl_operator.naming import API_VERSION, BANK, MODEL, PROFILE, SERVICE, Key, Object, Ref
from tests.operator.builders import IMAGE, NAMESPACE
from tests.operator.world import Life, served, variables

TWO_BUCKETS = [{"width": 128, "height": 128, "batch": 1}, {"width": 128, "height": 160, "batch": 4}]
DEPLOYMENT = Ref("apps/v1", "Deployment", NAMESPACE, "studio")


def template_of(life: Life) -> Object:
    return life.cluster.named("Deployment")["spec"]["template"]


def revision_of(life: Life) -> dict[str, str]:
    return dict(life.service()["status"]["revision"])


def first(life: Life, kind: str) -> int:
    """When the first object of a kind was made."""
    return next(index for index, line in enumerate(life.cluster.changes) if line.startswith(f"create {kind} "))


async def test_a_service_becomes_ready_by_model_then_bank_then_replicas_then_the_route() -> None:
    life = await served({"replicas": 2})
    jobs = [line for line in life.cluster.changes if line.startswith("create Job")]
    assert ["fetch" in jobs[0], "compile" in jobs[1], len(jobs)] == [True, True, 2]
    model_done = next(i for i, line in enumerate(life.cluster.changes) if line.startswith("change SDXLModel"))
    assert model_done < life.cluster.changes.index(jobs[1]) < first(life, "ConfigMap") < first(life, "Deployment")
    assert first(life, "ControllerRevision") < first(life, "Deployment")
    status = life.service()["status"]
    assert (status["replicas"], status["readyReplicas"], status["bucketSummary"]) == (2, 2, "1/1")
    assert status["url"] == "http://studio.team.svc"
    assert status["coldStart"]["compileSeconds"] > 0


async def test_each_step_says_what_it_waits_for() -> None:
    life = Life()
    life.profile()
    life.create()
    seen: list[str] = []
    for _ in range(30):
        await life.tick()
        if life.reason() not in seen:
            seen.append(life.reason())
    assert [reason for reason in seen if reason in ("Fetching", "Compiling", "Loading", "Ready")] == [
        "Fetching",
        "Compiling",
        "Loading",
        "Ready",
    ], seen


async def test_once_nothing_changes_no_turn_writes_anything() -> None:
    life = await served({"replicas": 2})
    writes, changes = len(life.cluster.writes), len(life.cluster.changes)
    for kind in (SERVICE, MODEL, BANK):
        for obj in life.cluster.all(kind):
            await life.turn(Key(kind, NAMESPACE, obj["metadata"]["name"]))
    await life.wait(90)
    assert life.cluster.writes[writes:] == []
    assert life.cluster.changes[changes:] == []


async def test_replicas_alone_change_no_template_and_cut_no_revision() -> None:
    life = await served()
    template, revisions = template_of(life), life.cluster.all("ControllerRevision")
    life.change(replicas=3)
    await life.settle()
    assert life.is_ready()
    assert life.service()["status"]["readyReplicas"] == 3
    assert template_of(life) == template
    assert [item["metadata"]["name"] for item in life.cluster.all("ControllerRevision")] == [
        item["metadata"]["name"] for item in revisions
    ]


async def test_an_added_bucket_is_compiled_before_the_deployment_moves() -> None:
    life = await served()
    before = life.cluster.named("Deployment")["spec"]
    life.world.outcome["compile"] = lambda pod: None
    life.change(buckets=TWO_BUCKETS)
    await life.wait(20)
    assert life.cluster.named("Deployment")["spec"] == before
    assert life.reason() == "Compiling"
    assert life.reason("Available") == "MinimumAvailable"
    del life.world.outcome["compile"]
    await life.settle()
    assert life.is_ready()
    assert len(json.loads(variables({"spec": template_of(life)["spec"]})["SDXL_BUCKETS"])) == 2
    assert life.world.compiled == [["128x128b1"], ["128x128b1", "128x160b4"]]
    accepted = json.loads(life.cluster.named("ConfigMap")["data"]["accepted.json"])
    assert sorted(accepted["digests"]) == ["128x128b1", "128x160b4"]


async def test_an_old_deployment_still_scales_while_the_next_bank_compiles() -> None:
    life = await served()
    before = template_of(life)
    life.world.outcome["compile"] = lambda pod: None
    life.change(buckets=TWO_BUCKETS, replicas=2)
    await life.wait(20)
    assert life.cluster.named("Deployment")["spec"]["replicas"] == 2
    assert template_of(life) == before


async def test_an_edit_of_the_environment_rolls_and_taking_it_back_applies_the_stored_revision() -> None:
    life = await served()
    first_revision, template = revision_of(life)["current"], template_of(life)
    life.change(server={"env": [{"name": "A", "value": "1"}]})
    await life.settle()
    second = revision_of(life)["current"]
    assert second != first_revision
    assert variables({"spec": template_of(life)["spec"]})["A"] == "1"
    life.profile(change={"podLabels": {"newer": "yes"}})
    life.change(server={"env": []})
    await life.settle()
    assert revision_of(life) == {"current": first_revision, "updated": first_revision}
    assert template_of(life) == template
    assert len(life.cluster.all("ControllerRevision")) == 2


async def test_while_a_revision_rolls_out_status_tells_current_and_updated_apart() -> None:
    life = await served()
    old = revision_of(life)["current"]
    life.world.held = {IMAGE}
    life.change(server={"env": [{"name": "A", "value": "1"}]})
    await life.wait(12)
    found = revision_of(life)
    assert found["current"] == old
    assert found["updated"] != old
    assert life.reason("Progressing") == "Loading"
    assert life.condition("Progressing")["status"] == "True"
    assert life.condition("Progressing")["message"].startswith("Restart (server.env[A]): ")
    assert life.service()["status"]["rollout"] == {"impact": "Restart", "fields": ["server.env[A]"]}
    life.world.held = set()
    await life.settle()
    assert "rollout" not in life.service()["status"]
    assert life.condition("Progressing")["message"] == "All replicas are of the updated revision and ready."


async def test_while_the_next_bank_is_made_progressing_says_what_the_edit_costs_and_what_it_waits_for() -> None:
    life = await served()
    life.world.outcome["compile"] = lambda pod: None
    life.change(buckets=TWO_BUCKETS, replicas=2)
    await life.wait(20)
    assert life.service()["status"]["rollout"] == {"impact": "Recompile", "fields": ["buckets[128x160b4]"]}
    found = life.condition("Progressing")
    assert (found["status"], found["reason"]) == ("True", "Compiling")
    assert found["message"] == f"Recompile (buckets[128x160b4]): {life.condition('BankReady')['message']}"
    life.change(buckets=[TWO_BUCKETS[0]])
    await life.settle()
    assert life.is_ready()
    assert "rollout" not in life.service()["status"]


async def test_an_edit_that_is_not_accepted_does_not_count_as_progress() -> None:
    life = await served()
    life.change(buckets=[{"width": 136, "height": 128}])
    await life.settle()
    found = life.condition("Progressing")
    assert (found["status"], found["reason"]) == ("False", "BucketNotDivisible")
    assert life.service()["status"]["rollout"]["impact"] == "Recompile"


async def test_a_newer_profile_rolls_nobody_and_is_offered_as_an_update() -> None:
    life = await served()
    template, revision = template_of(life), revision_of(life)
    life.profile(change={"image": "example.org/sdxl-runtime:2"})
    await life.settle()
    assert template_of(life) == template
    assert revision_of(life) == revision
    assert life.reason("UpdateAvailable") == "NewerTemplate"
    offer = "(Retune) spec.containers[server].image: example.org/sdxl-runtime:1 → example.org/sdxl-runtime:2"
    assert life.condition("UpdateAvailable")["message"].startswith(
        f"The next edit that replaces pods also brings {offer}"
    )
    assert life.is_ready()
    assert len(life.cluster.all(BANK)) == 1
    life.profile()
    await life.settle()
    assert life.condition("UpdateAvailable") == {}


async def test_an_edit_takes_up_the_newer_profile() -> None:
    life = await served()
    life.profile(change={"image": "example.org/sdxl-runtime:2"})
    life.change(server={"env": [{"name": "A", "value": "1"}]})
    await life.settle()
    assert template_of(life)["spec"]["containers"][0]["image"] == "example.org/sdxl-runtime:2"
    assert life.is_ready()
    assert life.condition("UpdateAvailable") == {}


async def test_a_profile_corrected_before_the_first_rollout_completed_is_taken_up() -> None:
    life = Life()
    life.world.held = {IMAGE}
    life.profile()
    life.create()
    await life.wait(25)
    assert life.reason() == "Loading"
    life.profile(change={"image": "example.org/sdxl-runtime:good"})
    await life.settle()
    assert life.is_ready(), "\n".join(life.conditions())
    assert template_of(life)["spec"]["containers"][0]["image"] == "example.org/sdxl-runtime:good"


async def test_suspending_takes_all_replicas_down_and_resuming_brings_the_same_ones_back() -> None:
    life = await served({"replicas": 2})
    template = template_of(life)
    life.change(suspend=True)
    await life.settle()
    assert life.cluster.all("Pod") == [
        pod for pod in life.cluster.all("Pod") if "job-name" in pod["metadata"]["labels"]
    ]
    assert [life.reason(), life.reason("Available"), life.reason("Stalled")] == ["Suspended"] * 3
    assert life.condition("Available")["status"] == "False"
    assert len(life.cluster.all(BANK)) == len(life.cluster.all("Service")) == 1
    life.change(suspend=False)
    await life.settle()
    assert life.is_ready()
    assert life.service()["status"]["readyReplicas"] == 2
    assert template_of(life) == template


async def test_zero_replicas_is_ready_and_says_so() -> None:
    life = await served()
    life.change(replicas=0)
    await life.settle()
    assert life.is_ready()
    assert [life.reason(), life.reason("Available")] == ["ScaledToZero"] * 2
    assert life.condition("Available")["status"] == "True"
    life.change(replicas=1)
    await life.settle()
    assert (life.reason(), life.service()["status"]["readyReplicas"]) == ("Ready", 1)


async def test_the_port_changes_the_service_and_no_pod() -> None:
    life = await served()
    template = template_of(life)
    life.change(expose={"service": {"port": 8080}})
    await life.settle()
    assert life.cluster.named("Service")["spec"]["ports"][0]["port"] == 8080
    assert life.service()["status"]["url"].endswith(":8080")
    assert template_of(life) == template


async def test_an_eager_service_has_no_bank_and_needs_none() -> None:
    life = await served({"compile": {"mode": "Eager"}})
    assert life.cluster.all(BANK) == []
    assert life.reason("BankReady") == "NotNeeded"
    assert life.service()["status"]["buckets"][0]["backend"] == "Eager"


async def test_only_the_last_five_revisions_stay() -> None:
    life = await served()
    for number in range(7):
        life.change(server={"env": [{"name": "A", "value": str(number)}]})
        await life.settle()
    found = sorted(life.cluster.all("ControllerRevision"), key=lambda item: item["revision"])
    assert [item["revision"] for item in found] == [4, 5, 6, 7, 8]
    assert revision_of(life)["current"] == found[-1]["metadata"]["name"]


async def test_a_revision_that_serves_is_never_surplus() -> None:
    life = await served()
    oldest = revision_of(life)["current"]
    life.world.held = {IMAGE}  # nothing newer ever completes
    for number in range(7):
        life.change(server={"env": [{"name": "A", "value": str(number)}]})
        await life.wait(10)
    life.world.held = set()
    life.change(server={"env": []})
    await life.settle()
    assert revision_of(life)["current"] == oldest


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("replicas", 5),
        ("template", {"metadata": {"annotations": {"someone": "was here"}}}),
    ],
)
async def test_a_field_that_someone_changed_in_the_deployment_is_set_right(member: str, value: Any) -> None:
    life = await served()
    before = life.cluster.named("Deployment")["spec"]
    life.cluster.edit(DEPLOYMENT, spec={member: value})
    await life.settle()
    found = life.cluster.named("Deployment")["spec"]
    assert found["replicas"] == before["replicas"]
    assert found["template"]["spec"] == before["template"]["spec"]


async def test_a_deleted_child_is_made_again() -> None:
    life = await served()
    for kind, version in (("Deployment", "apps/v1"), ("Service", "v1"), ("PodDisruptionBudget", "policy/v1")):
        life.cluster.remove(Ref(version, kind, NAMESPACE, "studio"))
        await life.settle()
        assert len(life.cluster.all(kind)) == 1, kind
    assert life.is_ready()


async def test_a_profile_that_went_leaves_the_replicas_and_is_named() -> None:
    life = await served()
    life.cluster.remove(Ref(API_VERSION, PROFILE, "", "cpu"))
    await life.settle()
    assert life.is_ready(), "the revision froze the profile"
    life.change(server={"env": [{"name": "NEW", "value": "1"}]})
    await life.until(lambda: life.reason() == "ProfileNotFound", "a new revision needs the profile")
    assert life.reason("Available") == "MinimumAvailable"
    assert life.service()["status"]["url"] == "http://studio.team.svc"
    assert life.cluster.named("Deployment")["status"]["readyReplicas"] == 1


async def test_events_tell_each_change_of_a_condition_once() -> None:
    life = await served()
    of_service = [(reason, message) for name, reason, message in life.cluster.recorded if name == "studio"]
    assert ("Ready", "Everything that was asked for is there.") in of_service
    ready = [message for reason, message in of_service if reason == "Ready"]
    assert len(ready) == 1
