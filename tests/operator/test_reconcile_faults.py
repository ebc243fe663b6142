"""The API server goes away before or after any single write of a service's life: the same end is reached."""

import copy
import json
import re
from collections.abc import Callable

import pytest

from sdxl_operator.cluster import Unavailable
from sdxl_operator.naming import API_VERSION, BANK, SERVICE, Key, Object, Ref
from sdxl_operator.reconcile.publish import publish
from tests.operator.builders import NAMESPACE
from tests.operator.world import Life

PIXEL = {"name": "pixel", "source": "demo://pixel"}
RETAIN_NOTHING = {"model": {"retention": "Delete", "adapters": [PIXEL]}, "tuneBank": {"retention": "Delete"}}


def made(life: Life) -> None:
    life.profile()
    life.create({"replicas": 2, **RETAIN_NOTHING})


def edited(life: Life) -> None:
    life.change(buckets=[{"width": 128, "height": 128}, {"width": 160, "height": 128}])


def gone(life: Life) -> None:
    life.cluster.remove(Ref(API_VERSION, SERVICE, NAMESPACE, "studio"))


def end(life: Life) -> Object:
    """What there is, without times and the numbers that count tries."""
    found: dict[str, Object] = {}
    for ref, obj in sorted(life.cluster.objects.items()):
        if ref.kind == "Pod":
            continue
        status = obj.get("status") or {}
        conditions = {item["type"]: (item["status"], item.get("reason")) for item in status.get("conditions") or []}
        kept = {name: status[name] for name in ("revision", "bucketSummary", "usedBy", "failures") if name in status}
        annotations = obj["metadata"].get("annotations") or {}
        found[f"{ref.kind} {ref.name}"] = {"spec": obj.get("spec"), "data": obj.get("data"), "status": kept} | {
            "conditions": conditions if ref.api_version == API_VERSION else {},
            "annotations": annotations,
        }
    return json.loads(re.sub(r'"uid": "[^"]*"', "", json.dumps(found, sort_keys=True)))


async def made_and_settled() -> Life:
    life = Life()
    made(life)
    await life.settle()
    assert life.is_ready()
    return life


STEPS = pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.long)], ids=["some", "all"])
"""Every fourth write for each change, every single one in the long tests."""


async def every_fault(start: Life, act: Callable[[Life], None], step: int, seconds: int = 0) -> int:
    """Do `act` once in peace, and then again for each `step`th write: it fails before it is done, or after."""

    async def lived(before: int | None = None, after: int | None = None) -> Life:
        life = copy.deepcopy(start)
        life.cluster.writes.clear()
        life.cluster.fail_before, life.cluster.fail_after = before, after
        act(life)
        await life.settle()
        await life.wait(seconds)
        return life

    calm = await lived()
    wanted, writes = end(calm), calm.cluster.writes
    for number, write in list(enumerate(writes, 1))[::step]:
        for point in ("before", "after"):
            life = await lived(**{point: number})
            assert life.faults == 1, f"no failure {point} write {number}, {write}"
            assert end(life) == wanted, f"another end: failed {point} write {number} of {len(writes)}, {write}"
    return len(writes)


@STEPS
async def test_a_failure_before_or_after_any_write_of_the_first_rollout_changes_nothing_in_the_end(step: int) -> None:
    assert await every_fault(Life(), made, step) > 25


@STEPS
async def test_a_failure_before_or_after_any_write_of_an_edit_changes_nothing_in_the_end(step: int) -> None:
    assert await every_fault(await made_and_settled(), edited, step) > 15


@STEPS
async def test_a_failure_before_or_after_any_write_of_the_removal_changes_nothing_in_the_end(step: int) -> None:
    start = await made_and_settled()
    assert await every_fault(start, gone, step, seconds=640) >= 4
    calm = copy.deepcopy(start)
    gone(calm)
    await calm.wait(640)
    assert {ref.kind for ref in calm.cluster.objects} == {"AcceleratorProfile"}


async def test_a_lost_answer_to_a_status_write_still_wakes_those_who_wait_for_it() -> None:
    life = Life()
    service = life.create()
    life.queue.clear()
    life.cluster.fail_after = 1
    waiting = Key(BANK, NAMESPACE, "bank")
    with pytest.raises(Unavailable):
        await publish(service, {"conditions": []}, life.context, [waiting])
    assert life.service()["status"] == {"conditions": []}
    assert waiting in life.queue
