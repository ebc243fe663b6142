"""A compile Job at work: its progress in the bank's and the service's status, and how often that is written."""

from sdxl_operator.naming import BANK, Object
from tests.operator.world import Life, served

TWO_BUCKETS = [{"width": 128, "height": 128}, {"width": 128, "height": 256}]


def said(stage: str = "Compiling", **more: object) -> Object:
    place = {"stage": stage, "bucket": "128x128b1", "index": 1, "total": 1, "bytes": 0, "totalBytes": 0}
    return {**place, "seconds": 30.0, "bucketSeconds": 10.0, "left": ["128x128b1"], **more}


def compiling(life: Life | None = None) -> Life:
    """A life in which compile Jobs go on for ever."""
    life = life or Life()
    life.world.outcome["compile"] = lambda pod: None
    life.profile()
    return life


def progress_of(life: Life, name: str | None = None) -> Object:
    return dict(life.cluster.named(BANK, name)["status"]["progress"])


async def test_status_of_bank_and_service_tell_bucket_stage_and_what_is_left() -> None:
    life = compiling()
    life.create()
    life.runtime.stage = said(etaSeconds=95, etaFrom=["64x64b1"])
    await life.until(lambda: "progress" in (life.cluster.all(BANK) or [{}])[0].get("status", {}), "a sample")
    found = progress_of(life)
    assert (found["stage"], found["bucket"], found["index"], found["total"]) == ("Compiling", "128x128b1", 1, 1)
    assert (found["etaSeconds"], found["summary"]) == (95, "1/1 compiling, 95 s left")
    await life.wait(6)
    text = "Compiling: bucket 1 of 1, 128x128b1, 30 s so far, about 95 s left, by 64x64b1 of this bank"
    assert life.condition("BankReady")["message"] == text


async def test_it_is_written_every_half_minute_at_most_and_at_each_stage() -> None:
    life = compiling()
    life.create()
    life.runtime.stage = said()
    await life.until(lambda: "progress" in (life.cluster.all(BANK) or [{}])[0].get("status", {}), "a sample")
    before = len(changes_of(life))
    for passed in range(60):
        life.runtime.stage = said(seconds=30.0 + 2 * passed, etaSeconds=200 - passed)
        await life.wait(2)
    assert 3 <= len(changes_of(life)) - before <= 5
    before = len(changes_of(life))
    life.runtime.stage = said("Measuring", etaSeconds=3)
    await life.wait(8)
    assert progress_of(life)["stage"] == "Measuring"
    assert len(changes_of(life)) - before == 1


def changes_of(life: Life) -> list[str]:
    return [line for line in life.cluster.changes if line.startswith("change SDXLTuneBank")]


async def test_a_new_bank_is_reckoned_from_another_one_on_the_same_accelerator() -> None:
    life = compiling(await served())
    (known,) = (bank["metadata"]["name"] for bank in life.cluster.all(BANK))
    life.runtime.stage = said()
    life.change(precision="FP16")
    await life.until(lambda: len(life.cluster.all(BANK)) == 2, "another bank")
    (new,) = (bank["metadata"]["name"] for bank in life.cluster.all(BANK) if bank["metadata"]["name"] != known)
    await life.until(lambda: "progress" in life.cluster.named(BANK, new).get("status", {}), "a sample")
    found = progress_of(life, new)
    assert (found["etaSeconds"], found["etaFrom"]) == (30, f"128x128b1 of bank {known}")


async def test_progress_is_gone_when_the_job_is_done_and_its_entries_tell_their_seconds() -> None:
    life = compiling()
    life.create()
    life.runtime.stage = said()
    await life.until(lambda: "progress" in (life.cluster.all(BANK) or [{}])[0].get("status", {}), "a sample")
    del life.world.outcome["compile"]
    await life.settle()
    assert life.is_ready()
    status = life.cluster.named(BANK)["status"]
    assert "progress" not in status
    assert [entry["seconds"] for entry in status["entries"]] == [40]


async def test_replicas_that_compile_before_they_serve_tell_their_progress_too() -> None:
    life = compiling()
    life.create({"compile": {"placement": "InitContainer"}})
    life.runtime.stage = said(etaSeconds=95, etaFrom=["64x64b1"])
    await life.until(lambda: "progress" in (life.cluster.all(BANK) or [{}])[0].get("status", {}), "a sample")
    assert progress_of(life)["summary"] == "1/1 compiling, 95 s left"
    del life.world.outcome["compile"]
    await life.settle()
    assert life.is_ready()
    assert "progress" not in life.cluster.named(BANK)["status"]
