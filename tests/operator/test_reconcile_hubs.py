"""A service whose files are on a hub: its progress in status, and the tokens that its fetch Jobs get."""

import json

from sdxl_operator.naming import MODEL, Object
from sdxl_operator.settings import OperatorSettings
from tests.operator.world import Life, variables

COMMIT = "c0ffee" * 6 + "c0ff"
OF_HUB: Object = {"source": "hf://team/sdxl", "revision": COMMIT}
TOKEN: Object = {"tokenSecretRef": {"name": "hub-token"}}
REFUSED = json.dumps({"error": {"reason": "SourceUnauthorized", "message": "hf://team/sdxl asks for a token"}})


def started(model: Object, life: Life | None = None) -> Life:
    """A life with a service whose fetch Jobs go on for ever."""
    found = life or Life()
    found.world.outcome["fetch"] = lambda pod: None
    found.profile()
    found.create({"model": {"source": "demo://shapes", **model}})
    return found


def fetch_jobs(life: Life) -> list[Object]:
    return [job for job in life.cluster.all("Job") if "fetch" in job["metadata"]["name"]]


def tokens(life: Life) -> list[str]:
    """The Secrets that the only fetch Job has tokens from."""
    (job,) = fetch_jobs(life)
    volumes = job["spec"]["template"]["spec"]["volumes"]
    found = [item["projected"]["sources"] for item in volumes if item["name"] == "hub-tokens"]
    return [source["secret"]["name"] for source in found[0]] if found else []


def said(done: int, speed: int = 10**8) -> Object:
    """What the Job says after so many percent."""
    return {"stage": "Downloading", "bytes": done * 10**8, "totalBytes": 10**10, "bytesPerSecond": speed}


def status_writes(life: Life) -> int:
    return sum(1 for line in life.cluster.changes if line.startswith("change SDXLModel"))


async def test_status_tells_how_far_the_fetch_is_and_is_written_every_half_minute_at_most() -> None:
    life = started(OF_HUB)
    await life.wait(10)
    life.runtime.stage = said(10)
    await life.until(lambda: "progress" in life.cluster.named(MODEL)["status"], "a sample")
    before, began = status_writes(life), life.clock.now
    for done in range(11, 71):
        life.runtime.stage = said(done, speed=10**8 + done)
        await life.wait(2)
    assert (life.clock.now - began).total_seconds() >= 120
    assert 3 <= status_writes(life) - before <= 5
    status = life.cluster.named(MODEL)["status"]
    assert status["totalBytes"] == 10**10
    assert 50 < int(status["progress"].removeprefix("Downloading ").removesuffix("%")) <= 70
    assert life.condition("ModelReady")["message"].startswith("Downloading ")
    assert life.reason() == "Fetching"


async def test_a_fetch_that_stands_still_writes_nothing() -> None:
    life = started(OF_HUB)
    life.runtime.stage = said(10, speed=0)
    await life.wait(40)
    before = len(life.cluster.changes)
    await life.wait(25)
    assert life.cluster.changes[before:] == []


async def test_the_numbers_are_gone_once_the_files_are_there() -> None:
    life = started(OF_HUB)
    life.runtime.stage = said(10)
    await life.wait(20)
    del life.world.outcome["fetch"]
    await life.settle()
    assert life.is_ready()
    assert "progress" not in life.cluster.named(MODEL)["status"]


async def test_a_fetch_job_knows_the_commit_and_what_the_admin_set() -> None:
    settings = OperatorSettings(fetch_environment={"HF_ENDPOINT": "https://mirror"})
    life = started(OF_HUB, Life(settings))
    await life.wait(10)
    found = variables({"spec": fetch_jobs(life)[0]["spec"]["template"]["spec"]})
    assert (found["SDXL_MODEL_REVISION"], found["HF_ENDPOINT"]) == (COMMIT, "https://mirror")


async def test_a_token_that_is_added_after_a_refusal_is_tried_at_once() -> None:
    life = started(OF_HUB)
    life.world.outcome["fetch"] = lambda pod: {"exitCode": 1, "message": REFUSED, "finishedAt": life.clock.text()}
    await life.until(lambda: life.reason() == "SourceUnauthorized", "the refusal")
    await life.wait(300)  # the pauses have become long
    assert tokens(life) == []
    name = life.cluster.named(MODEL)["metadata"]["name"]
    del life.world.outcome["fetch"]
    life.change(model=TOKEN)
    began = life.clock.now
    await life.until(life.is_ready, "ready")
    assert (life.clock.now - began).total_seconds() < 40
    assert life.cluster.named(MODEL)["metadata"]["name"] == name, "it is the same content"


async def test_a_token_that_was_rotated_in_its_secret_is_read_by_the_next_try() -> None:
    life = started({**OF_HUB, **TOKEN})
    life.world.outcome["fetch"] = lambda pod: {"exitCode": 1, "message": REFUSED, "finishedAt": life.clock.text()}
    await life.until(lambda: life.reason() == "SourceUnauthorized", "the refusal")
    refused = [job["metadata"]["uid"] for job in fetch_jobs(life)]
    del life.world.outcome["fetch"]
    began = life.clock.now
    await life.until(life.is_ready, "ready")
    assert (life.clock.now - began).total_seconds() < 60
    assert [job["metadata"]["uid"] for job in fetch_jobs(life)] != refused, "another pod mounts it anew"


async def test_another_services_token_is_tried_for_the_same_files() -> None:
    life = started({**OF_HUB, **TOKEN})
    await life.wait(10)
    assert tokens(life) == ["hub-token"]
    life.create({"model": {**OF_HUB, "tokenSecretRef": {"name": "another"}}}, name="second")
    await life.wait(20)
    assert len(life.cluster.all(MODEL)) == 1, "one copy, whoever has the token"
    assert tokens(life) == ["another", "hub-token"]


async def test_another_token_restarts_no_replica() -> None:
    life = started({**OF_HUB, **TOKEN})
    del life.world.outcome["fetch"]
    await life.settle()
    assert life.is_ready()
    before = life.cluster.named("Deployment")["spec"]
    life.change(model={"tokenSecretRef": {"name": "rotated"}})
    await life.settle()
    assert life.cluster.named("Deployment")["spec"] == before
    assert len(life.cluster.all("ControllerRevision")) == 1


async def test_a_new_commit_is_fetched_while_the_old_one_serves() -> None:
    life = started(OF_HUB)
    del life.world.outcome["fetch"]
    await life.settle()
    before = life.cluster.named("Deployment")["spec"]["template"]
    life.world.outcome["fetch"] = lambda pod: None
    life.change(model={"revision": "d" * 40})
    await life.wait(20)
    assert life.cluster.named("Deployment")["spec"]["template"] == before
    assert life.reason("Available") == "MinimumAvailable"
    del life.world.outcome["fetch"]
    await life.settle()
    assert life.is_ready()
    assert life.cluster.named("Deployment")["spec"]["template"] != before
