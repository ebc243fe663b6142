"""The life of a service whose bank is imported, or is a named one of somebody else's."""

import json

import pytest

from sdxl_operator.naming import API_VERSION, BANK, SERVICE, Object, Ref
from tests.operator.builders import NAMESPACE, resolved
from tests.operator.observations import FROM
from tests.operator.world import Life, served, variables

IMPORTING: Object = {"tuneBank": {"from": FROM}}
TWO = {"buckets": [{"width": 128, "height": 128}, {"width": 160, "height": 128}]}
OTHER = FROM.replace("ab", "cd")


def life_with(change: Object, **profile: object) -> Life:
    life = Life()
    life.profile(change={"bankRegistries": ["registry.example/team"], **profile})
    life.create(change)
    return life


def jobs(life: Life, component: str) -> list[Object]:
    return [job for job in life.cluster.all("Job") if f"-{component}-" in job["metadata"]["name"]]


async def test_an_imported_bank_makes_a_service_ready_and_nothing_is_compiled() -> None:
    life = life_with(IMPORTING)
    await life.settle()
    assert life.is_ready(), list(life.conditions())
    assert life.reason("BankReady") == "Imported"
    assert life.world.imported == [["128x128b1"]]
    assert life.world.compiled == []
    assert not jobs(life, "compile")
    accepted = json.loads(life.cluster.named("ConfigMap")["data"]["accepted.json"])
    assert list(accepted["digests"]) == ["128x128b1"]
    pod = next(pod for pod in life.cluster.all("Pod") if pod["spec"]["containers"][0]["name"] == "server")
    imported = next(pod for pod in life.cluster.all("Pod") if pod["spec"]["containers"][0]["name"] == "import")
    assert variables(pod)["SDXL_BANK_PATH"] == variables(imported)["SDXL_BANK_PATH"]


async def test_a_profile_that_recommends_eager_imports_for_who_asks() -> None:
    life = life_with(IMPORTING, recommendedCompileMode="Eager")
    await life.settle()
    assert life.reason("BankReady") == "Imported"


async def test_what_the_artefact_lacks_is_served_uncompiled_and_said() -> None:
    life = life_with({**IMPORTING, **TWO})
    await life.settle()
    assert life.condition("Available")["status"] == "True"
    assert life.reason("BankReady") == life.reason() == "Missing"
    assert "160x128b1" in life.condition("BankReady")["message"]
    assert life.world.compiled == []
    writes = len(life.cluster.changes)
    await life.wait(60)
    assert len(life.cluster.changes) == writes, "nothing moves for it"
    bank = life.cluster.named(BANK)
    assert bank["status"]["summary"] == "1/2"
    life.change(buckets=[{"width": 128, "height": 128}])
    await life.settle()
    assert life.is_ready()


async def test_a_bucket_that_is_added_is_looked_for_in_the_artefact() -> None:
    life = life_with(IMPORTING)
    await life.settle()
    life.world.artifact.add("160x128b1")
    life.change(**TWO)
    await life.settle()
    assert life.is_ready()
    assert life.world.imported == [["128x128b1"], ["128x128b1", "160x128b1"]]


async def test_services_of_one_artefact_share_its_bank_and_one_may_lack_what_the_other_has() -> None:
    life = life_with(IMPORTING)
    life.create({**IMPORTING, "buckets": [{"width": 160, "height": 128}]}, name="second")
    await life.settle()
    assert len(life.cluster.all(BANK)) == 1
    assert life.reason("BankReady") == "Imported"
    assert life.reason("BankReady", "second") == "Missing"


async def test_a_bank_for_something_else_is_said_and_the_first_replicas_serve_without_it() -> None:
    life = life_with(IMPORTING)
    life.world.stale = "the bank was made for something else: chip a here, b there"
    await life.settle()
    assert life.reason("BankReady") == "Stale"
    assert "chip a here, b there" in life.condition()["message"]
    assert life.condition("Available")["status"] == "True"


async def test_a_bank_for_something_else_replaces_no_replica_that_serves() -> None:
    life = life_with({})
    await life.settle()
    assert life.is_ready()
    deployment = life.cluster.named("Deployment")["spec"]
    life.world.stale = "chip a here, b there"
    life.change(tuneBank={"from": FROM})
    await life.settle()
    assert life.cluster.named("Deployment")["spec"] == deployment
    assert life.reason() == "Stale"
    life.world.stale = ""
    life.change(tuneBank={"from": OTHER})
    await life.settle()
    assert life.is_ready()
    assert life.cluster.named("Deployment")["spec"] != deployment


@pytest.mark.parametrize("reason", ["SignatureInvalid", "RegistryDenied", "ArtifactMissing", "RegistryUnavailable"])
async def test_an_import_that_fails_is_told_and_tried_again(reason: str) -> None:
    life = life_with(IMPORTING)
    words = json.dumps({"error": {"reason": reason, "message": "its words"}})
    life.world.outcome["import"] = lambda pod: {
        "exitCode": 1,
        "reason": "Error",
        "message": words,
        "finishedAt": life.clock.text(),
    }
    await life.until(lambda: life.reason() == reason, f"the reason {reason}")
    assert "its words" in life.condition()["message"]
    assert life.service()["status"]["lastFailure"]["component"] == "import"
    del life.world.outcome["import"]
    await life.until(life.is_ready, "the next try")


async def test_a_registry_that_the_profile_does_not_list_is_never_asked() -> None:
    life = life_with(IMPORTING, bankRegistries=["registry.example/others"])
    await life.settle()
    assert life.reason("Accepted") == "RegistryNotAllowed"
    assert not life.cluster.all("Job")
    life.cluster.edit(Ref(API_VERSION, "AcceleratorProfile", "", "cpu"), spec={"bankRegistries": ["registry.example"]})
    await life.settle()
    assert life.is_ready()


async def test_a_bank_that_somebody_made_by_hand_cannot_get_round_the_profile() -> None:
    life = life_with({"tuneBank": {"bankRef": {"name": "mine"}}})
    spec = {**resolved().own_bank, "from": FROM.replace("registry.example", "elsewhere.example")}
    metadata = {"name": "mine", "namespace": NAMESPACE}
    life.cluster.put({"apiVersion": API_VERSION, "kind": BANK, "metadata": metadata, "spec": spec})
    await life.settle()
    assert life.reason("BankReady") == "RegistryNotAllowed"
    assert not jobs(life, "import")


async def test_a_named_bank_is_used_by_who_names_it_and_filled_for_both() -> None:
    life = await served()
    name = life.cluster.named(BANK)["metadata"]["name"]
    life.create({"tuneBank": {"bankRef": {"name": name}}, "buckets": [{"width": 160, "height": 128}]}, name="second")
    await life.settle()
    assert life.is_ready("second"), list(life.conditions())
    bank = life.cluster.named(BANK)
    assert bank["status"]["usedBy"] == ["second", "studio"]
    assert life.world.compiled == [["128x128b1"], ["128x128b1", "160x128b1"]]


async def test_a_named_bank_that_does_not_exist_is_waited_for_and_then_used() -> None:
    life = life_with({"tuneBank": {"bankRef": {"name": "shared"}}})
    await life.settle()
    assert life.reason("Accepted") == "BankNotFound"
    assert not life.cluster.all("Deployment")
    metadata = {"name": "shared", "namespace": NAMESPACE}
    life.cluster.put({"apiVersion": API_VERSION, "kind": BANK, "metadata": metadata, "spec": resolved().own_bank})
    await life.until(life.is_ready, "the bank is used")
    pod = next(pod for pod in life.cluster.all("Pod") if pod["spec"]["containers"][0]["name"] == "server")
    assert variables(pod)["SDXL_BANK_NAME"] == "shared"


async def test_a_named_bank_of_another_image_is_refused_and_what_runs_goes_on() -> None:
    life = await served()
    deployment = life.cluster.named("Deployment")["spec"]
    spec = {**resolved().own_bank, "image": "example.org/other:9"}
    metadata = {"name": "other", "namespace": NAMESPACE}
    life.cluster.put({"apiVersion": API_VERSION, "kind": BANK, "metadata": metadata, "spec": spec})
    life.change(tuneBank={"bankRef": {"name": "other"}})
    await life.settle()
    assert life.reason("Accepted") == "BankDiffers"
    assert "image is example.org/other:9 there" in life.condition()["message"]
    assert life.cluster.named("Deployment")["spec"] == deployment
    assert life.condition("Available")["status"] == "True"


async def test_an_imported_bank_whose_claim_was_deleted_is_imported_again() -> None:
    life = life_with(IMPORTING)
    await life.settle()
    name = life.cluster.named(BANK)["metadata"]["name"]
    life.cluster.remove(Ref("v1", "PersistentVolumeClaim", NAMESPACE, name))
    await life.until(lambda: life.reason("BankReady") == "Importing", "the bank is imported again")
    await life.settle()
    assert life.is_ready()
    assert life.world.imported == [["128x128b1"], ["128x128b1"]]


async def test_a_service_that_goes_leaves_the_imported_bank_that_is_retained() -> None:
    life = life_with(IMPORTING)
    await life.settle()
    life.cluster.remove(Ref(API_VERSION, SERVICE, NAMESPACE, "studio"))
    await life.settle()
    await life.wait(700)
    assert life.cluster.all(BANK)
