"""A new revision whose pods do not become ready is taken back, and the one before it serves again."""

import json
from datetime import timedelta
from typing import Any

import pytest

from sdxl_operator.naming import REVISION_LABEL, Object
from sdxl_operator.status.failed_rollout import why_failed
from tests.operator.builders import NOW, at
from tests.operator.observations import words
from tests.operator.world import Life, served, variables

BAD = "example.org/broken:2"
BUDGET = 900


async def rolled_out_badly() -> Life:
    """A served service, and an edit whose pods run and never become ready."""
    life = await served()
    life.world.held.add(BAD)
    life.profile(change={"image": BAD})
    life.change(server={"labels": {"edited": "yes"}})
    await life.until(
        lambda: any(image_of(pod) == BAD for pod in life.cluster.all("Pod") if serves(pod)), "it rolls out"
    )
    return life


def serves(pod: Object) -> bool:
    return pod["metadata"]["labels"].get("app.kubernetes.io/component") == "server"


def image_of(obj: Object) -> str:
    spec = obj["spec"]["template"]["spec"] if "template" in obj["spec"] else obj["spec"]
    return str(spec["containers"][0]["image"])


async def test_after_its_budget_a_revision_is_taken_back_and_the_one_before_serves() -> None:
    life = await rolled_out_badly()
    await life.wait(BUDGET + 60)
    await life.until(lambda: life.condition("Available").get("status") == "True", "the old one serves")
    assert image_of(life.cluster.named("Deployment")) != BAD
    ready = life.condition()
    assert (ready["status"], ready["reason"]) == ("False", "RolledBack")
    assert f"was not ready after {BUDGET} s" in ready["message"]
    assert "correct or revert the spec" in ready["message"]
    assert life.condition("Degraded")["status"] == "True"
    assert life.condition("Stalled")["status"] == "True"


async def test_nothing_is_tried_again_by_itself() -> None:
    life = await rolled_out_badly()
    await life.wait(BUDGET + 60)
    before = len(life.cluster.changes)
    await life.wait(3600)
    moved = [change for change in life.cluster.changes[before:] if "Deployment" in change or "Pod" in change]
    assert moved == []


async def test_reverting_the_spec_recovers() -> None:
    life = await rolled_out_badly()
    await life.wait(BUDGET + 60)
    life.change(server=None)
    await life.until(life.is_ready, "ready")
    assert life.condition("Degraded") == {}


async def test_correcting_it_rolls_out_anew() -> None:
    life = await rolled_out_badly()
    await life.wait(BUDGET + 60)
    life.profile(change={"image": "example.org/mended:3"})
    life.change(server={"labels": {"edited": "again"}})
    await life.until(life.is_ready, "ready")
    assert image_of(life.cluster.named("Deployment")) == "example.org/mended:3"
    assert life.condition("Degraded") == {}


async def test_an_operator_that_was_killed_does_not_forget_that_it_gave_up() -> None:
    life = await rolled_out_badly()
    await life.wait(BUDGET + 60)
    life.restart()
    life.touch()
    await life.settle()
    assert life.reason() == "RolledBack"
    assert image_of(life.cluster.named("Deployment")) != BAD


async def test_a_first_revision_has_nothing_to_come_back_to_and_goes_on_trying() -> None:
    life = Life()
    life.world.held.add(BAD)
    life.profile(change={"image": BAD})
    life.create()
    await life.wait(BUDGET + 300)
    assert life.reason() != "RolledBack"
    life.world.held.clear()
    await life.until(life.is_ready, "ready")


OTHER_PICTURE = {
    "exitCode": 1,
    "message": words("PictureDiffers", "the picture of 128x128b1 differs, by 0.5 (PSNR 17.2 dB)", bucket="128x128b1"),
    "finishedAt": at(1),
}


async def painting_otherwise(replicas: int = 2) -> Life:
    """A served service, and an edit that is about to roll out pods which paint other pictures than their bank has."""
    life = await served({"replicas": replicas})
    life.world.ends[BAD] = OTHER_PICTURE
    life.profile(change={"image": BAD})
    life.change(server={"labels": {"edited": "yes"}})
    return life


async def test_pictures_that_differ_take_a_revision_back_at_once_and_the_old_one_serves_all_along() -> None:
    life = await painting_otherwise()
    available: set[str] = set()

    def taken_back() -> bool:
        available.add(life.condition("Available")["status"])
        return life.reason() == "RolledBack"

    began = life.clock.now
    await life.until(taken_back, "it is taken back")
    assert life.clock.now - began < timedelta(seconds=60), "no budget is waited for"
    assert available == {"True"}
    for condition in ("Ready", "Degraded"):
        message = life.condition(condition)["message"]
        assert "the picture of 128x128b1 differs, by 0.5 (PSNR 17.2 dB)" in message
        assert "or set spec.rollout.pictureCheck to Disabled" in message
    assert life.condition("Degraded")["status"] == "True"
    assert life.service()["status"]["lastFailure"]["reason"] == "PictureDiffers"
    await life.until(lambda: life.service()["status"]["readyReplicas"] == 2, "both are of the old one")
    assert BAD not in {image_of(pod) for pod in life.cluster.all("Pod") if serves(pod)}


async def test_no_second_replica_is_replaced_by_one_that_paints_otherwise() -> None:
    life = await painting_otherwise(3)
    most = 0

    def taken_back() -> bool:
        nonlocal most
        most = max(most, sum(image_of(pod) == BAD for pod in life.cluster.all("Pod") if serves(pod)))
        return life.reason() == "RolledBack"

    await life.until(taken_back, "it is taken back")
    assert most == 1


async def test_an_edit_that_wants_the_new_pictures_rolls_out() -> None:
    life = await painting_otherwise()
    await life.until(lambda: life.reason() == "RolledBack", "it is taken back")
    life.world.ends.clear()  # a replica that does not compare does not end
    life.change(rollout={"pictureCheck": "Disabled"})
    await life.until(life.is_ready, "ready")
    found = [variables(pod)["SDXL_PICTURE_CHECK"] for pod in life.cluster.all("Pod") if serves(pod)]
    assert found == ["Disabled", "Disabled"]
    assert life.condition("Degraded") == {}


async def test_a_replica_of_the_only_revision_that_paints_otherwise_says_so_and_is_not_taken_back() -> None:
    life = Life()
    life.world.ends[BAD] = OTHER_PICTURE
    life.profile(change={"image": BAD})
    life.create()
    await life.until(lambda: life.reason() == "PictureDiffers", "it is said")
    assert "by 0.5" in life.condition()["message"]
    assert life.condition("Stalled")["status"] == "True"


async def test_a_bank_that_turns_out_slower_is_rolled_out_uncompiled_and_says_which_and_why() -> None:
    life = await served({"replicas": 2})
    life.world.outcome["compile"] = lambda pod: slower(life, pod)
    available: set[str] = set()

    def rolled_out() -> bool:
        available.add(life.condition("Available")["status"])
        status = life.service()["status"]
        return life.is_ready() and status["observedGeneration"] == life.service()["metadata"]["generation"]

    life.change(precision="BF16")
    await life.until(rolled_out, "it is rolled out")
    assert available == {"True"}
    pods = [pod for pod in life.cluster.all("Pod") if serves(pod)]
    assert {variables(pod)["SDXL_PRECISION"] for pod in pods} == {"BF16"}
    bank = life.condition("BankReady")
    assert (bank["status"], bank["reason"]) == ("True", "Compiled")
    assert bank["message"] == (
        "0 of 1 buckets are served compiled, the others uncompiled, as measured: "
        "128x128b1: it runs at 90 % of eager's speed; at least 102 % is asked for"
    )
    assert life.condition("Degraded") == {}


def slower(life: Life, pod: Object) -> Object:
    """A compile Job that kept nothing."""
    done = life.world._success(pod)
    result = json.loads(done["message"])
    why = "it runs at 90 % of eager's speed; at least 102 % is asked for"
    result["entries"] = [{**item, "state": "Dropped", "speedupPercent": 90, "why": why} for item in result["entries"]]
    return {**done, "message": json.dumps(result)}


async def test_a_bank_that_cannot_be_made_leaves_the_present_revision_and_says_degraded() -> None:
    life = await served()
    life.world.outcome["compile"] = lambda pod: {"exitCode": 1, "message": "boom", "finishedAt": life.clock.text()}
    life.change(buckets=[{"width": 128, "height": 128}, {"width": 160, "height": 128}])
    await life.until(lambda: life.condition("Degraded").get("status") == "True", "it is degraded")
    assert life.condition("Available")["status"] == "True"
    assert "goes on serving" in life.condition("Degraded")["message"]
    del life.world.outcome["compile"]
    life.change(buckets=[{"width": 128, "height": 128}])
    await life.until(life.is_ready, "reverted")
    assert life.condition("Degraded") == {}


def pod(
    revision: str = "new",
    ready: bool = False,
    restarts: int = 0,
    exit_code: int = 1,
    said: str = "no such file",
    **conditions: str,
) -> Object:
    status: list[Object] = [{"type": "Ready", "status": str(ready)}]
    status += [{"type": kind, "status": "True", "lastTransitionTime": time} for kind, time in conditions.items()]
    ended = {"terminated": {"exitCode": exit_code, "message": said, "finishedAt": at(1)}}
    container = {
        "name": "server",
        "restartCount": restarts,
        "state": {"running": {}},
        "lastState": ended if restarts else {},
    }
    return {
        "metadata": {"name": "studio-1", "labels": {REVISION_LABEL: revision}},
        "spec": {"nodeName": "node", "containers": [{"name": "server"}]},
        "status": {"conditions": status, "containerStatuses": [container]},
    }


DIFFERS = str(OTHER_PICTURE["message"])


@pytest.mark.parametrize(
    ("sentence", "found", "fails"),
    [
        ("a pod within its budget may still become ready", pod(PodScheduled=at(0)), False),
        ("one beyond it will not", pod(PodScheduled=at(-BUDGET - 61)), True),
        ("a budget begins when init containers are done", pod(PodScheduled=at(-2000), Initialized=at(0)), False),
        ("one that ends again and again is not waited for", pod(restarts=3, PodScheduled=at(0)), True),
        ("one whose pictures differ would end so again", pod(restarts=1, said=DIFFERS, PodScheduled=at(0)), True),
        ("one that ended once may become ready", pod(restarts=1, PodScheduled=at(0)), False),
        ("one that was recycled is no failure", pod(restarts=3, exit_code=0, PodScheduled=at(0)), False),
        ("a pod without a node is no failure of what is in it", pod(), False),
        ("a pod of another revision does not count", pod("old", PodScheduled=at(-BUDGET - 61)), False),
        ("one that is ready proves the revision", pod(ready=True, PodScheduled=at(-BUDGET - 61)), False),
    ],
)
def test_when_a_revision_is_given_up(sentence: str, found: Object, fails: bool) -> None:
    why = why_failed([found], "new", BUDGET, "spec.server.resources.limits.memory", NOW + timedelta(seconds=60))
    assert bool(why) == fails, sentence


def test_the_reason_is_in_the_containers_own_words() -> None:
    def why(found: Any) -> str:
        return why_failed([found], "new", BUDGET, "field", NOW + timedelta(seconds=60))

    assert why(pod(restarts=3, PodScheduled=at(0))) == "pod studio-1 ended 3 times: no such file"
    assert "was not ready after 900 s" in why(pod(PodScheduled=at(-BUDGET - 61)))
