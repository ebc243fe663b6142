"""Entries of the bank that replicas cannot take: status says so, and they are verified and made again."""

import json
from typing import Any

from sdxl_operator.naming import BANK, Object
from sdxl_operator.status.bank import disputed
from sdxl_operator.status.buckets import disputes
from tests.operator.world import FakeRuntime, Life, served, variables


def digest_of(life: Life) -> str:
    return str(life.cluster.named(BANK)["status"]["entries"][0]["digest"])


def complain(life: Life, monkeypatch: Any, reason: str, digest: str) -> None:
    """From now on replicas say that they cannot take the entry with this digest."""
    plain = FakeRuntime.readiness

    async def readiness(self: FakeRuntime, pod: Any) -> Object | None:
        answer = await plain(self, pod)
        for row in (answer or {}).get("buckets", []):
            current = digest_of(life)
            row |= {"entry": reason, "digest": digest, "backend": "Eager", "why": "it is damaged"}
            if current != digest:  # what was made again is taken up
                row |= {"entry": "Loaded", "digest": current, "backend": "AheadOfTime", "why": ""}
        return answer

    monkeypatch.setattr(FakeRuntime, "readiness", readiness)


async def test_a_damaged_entry_is_made_again_while_replicas_serve(monkeypatch: Any) -> None:
    life = await served()
    pods = [pod["metadata"]["uid"] for pod in life.cluster.all("Pod") if "server" in str(pod["metadata"]["labels"])]
    complain(life, monkeypatch, "Corrupt", digest_of(life))
    life.world.identity = "2" * 16  # whatever is made again has another digest
    life.touch()
    await life.until(lambda: life.reason("BankReady") == "Corrupt", "the condition")
    assert "it is damaged" in life.condition("BankReady")["message"]
    assert life.condition("Available")["status"] == "True"
    await life.until(life.is_ready, "it is made again")
    assert life.reason("BankReady") == "Compiled"
    assert life.world.compiled == [["128x128b1"], ["128x128b1"]]
    after = [pod["metadata"]["uid"] for pod in life.cluster.all("Pod") if "server" in str(pod["metadata"]["labels"])]
    assert after == pods, "no replica was restarted"


async def test_a_complaint_that_verifying_does_not_cure_starts_one_job_and_no_more(monkeypatch: Any) -> None:
    life = await served()
    complain(life, monkeypatch, "Stale", digest_of(life))
    life.touch()
    await life.until(lambda: len(life.world.compiled) == 2, "it is verified")
    await life.wait(600)
    assert len(life.world.compiled) == 2
    assert life.reason("BankReady") == "Stale"


async def test_an_entry_that_paints_otherwise_is_compared_by_the_job_while_replicas_serve(monkeypatch: Any) -> None:
    life = await served()
    complain(life, monkeypatch, "PictureDiffers", digest_of(life))
    seen: list[str] = []

    def compile(pod: Object) -> Object:
        seen.append(variables(pod)["SDXL_BANK_DISPUTED"])
        return life.world._success(pod)

    life.world.outcome["compile"] = compile
    life.world.identity = "2" * 16  # it is made again
    life.touch()
    await life.until(lambda: life.reason("BankReady") == "PictureDiffers", "the condition")
    assert life.condition("Available")["status"] == "True"
    await life.until(life.is_ready, "it is made again")
    assert seen == ["128x128b1"]


async def test_of_an_entry_that_is_gone_there_is_nothing_to_compare(monkeypatch: Any) -> None:
    life = await served()
    complain(life, monkeypatch, "Missing", digest_of(life))
    life.touch()
    await life.until(lambda: len(life.world.compiled) == 2, "it is verified")
    jobs = [pod for pod in life.cluster.all("Pod") if pod["spec"]["containers"][0]["args"] == ["compile"]]
    assert [pod for pod in jobs if "SDXL_BANK_DISPUTED" in variables(pod)] == []


async def test_what_is_accepted_stays_accepted_until_it_was_made_again(monkeypatch: Any) -> None:
    life = await served()
    complain(life, monkeypatch, "Missing", digest_of(life))
    life.world.outcome["compile"] = lambda pod: None
    life.touch()
    await life.until(lambda: life.reason("Ready", of=BANK) == "Compiling", "it is made again")
    (accepted,) = (item for item in life.cluster.all("ConfigMap") if item["metadata"]["name"].endswith("-accepted"))
    assert json.loads(accepted["data"]["accepted.json"])["digests"] == {"128x128b1": digest_of(life)}


def test_only_what_the_bank_keeps_and_the_replica_has_seen_is_disputed() -> None:
    entries = [
        {"key": "a", "state": "Kept", "digest": "new"},
        {"key": "b", "state": "Dropped", "digest": "new"},
    ]
    bank = {"status": {"entries": entries}}

    def said(key: str, digest: str, entry: str = "Corrupt") -> Object:
        return {"pod": {"buckets": [{"key": key, "entry": entry, "digest": digest, "why": "why"}]}}

    assert [item.reason for item in disputes(bank, said("a", "new"))] == ["Corrupt"]
    assert disputes(bank, said("a", "old")) == []
    assert disputes(bank, said("b", "new")) == []
    assert disputes(bank, said("a", "new", "Loaded")) == []
    assert disputed(bank["status"], [{"buckets": [{"key": "a", "entry": "Stale", "digest": "new"}]}]) == {"a": "Stale"}
    assert disputed(bank["status"], [{"buckets": [{"key": "a", "entry": "Loaded", "digest": "new"}]}]) == {}
