"""Several SDXLModels for one service: how they are named and planned, and what status says of them."""

import random

import pytest

from sdxl_operator import naming
from sdxl_operator.accept import measured
from sdxl_operator.naming import MODEL, ModelUse, Object, Reason
from sdxl_operator.plan import deployment, revision
from sdxl_operator.plan.model import Demand, fetch_job
from sdxl_operator.status import service as service_status
from sdxl_operator.status.weights import UsedModel, members, of_models
from tests.operator.builders import DIGEST, NOW, a_service, at, owner, resolved
from tests.operator.observations import a_view, child, of_service, used
from tests.operator.test_plan_golden import FURTHER, template

PIXEL = {"name": "pixel", "source": "demo://pixel"}
SECOND = {"name": "another", "key": "hf"}
REFINER = {"source": "demo://shapes-refiner"}


def failing(reason: Reason, message: str, stalled: bool = False) -> Object:
    """An SDXLModel that is not ready."""
    found = child(reason, holds=False, message=message)
    if stalled:
        found["status"]["conditions"].append({"type": "Stalled", "status": "True", "reason": "x", "message": ""})
    return found


def present(message: str = "1 files, 2 bytes") -> Object:
    return child(Reason.MODEL_PRESENT, message=message)


def test_each_set_of_files_is_an_sdxlmodel_that_says_what_it_is() -> None:
    found = {item.role: item.spec.get("content") for item in resolved(FURTHER).weights}
    assert found == {"model": None, "refiner": "Refiner", "adapters/pixel": "Adapter", "adapters/ink": "Adapter"}
    assert len({item.name for item in resolved(FURTHER).weights}) == 4


def test_the_same_files_used_as_something_else_are_another_sdxlmodel() -> None:
    source = "pvc://weights/x"
    both = resolved({"model": {"source": source, "refiner": {"source": source}}})
    assert both.refiner is not None
    assert both.model.claim == both.refiner.claim == "weights"
    assert both.model.name != both.refiner.name


def test_adapters_and_refiner_change_neither_the_models_name_nor_the_banks() -> None:
    plain, more = resolved(), resolved({"model": {"adapters": [PIXEL], "refiner": REFINER}})
    assert (more.model.name, more.bank_name) == (plain.model.name, plain.bank_name)
    assert plain.model.name == "demo-shapes-a476cd0aef", "a model of 0.1.0 keeps its name"


COMMIT = "c0ffee" * 6 + "c0ff"
TOKEN: Object = {"tokenSecretRef": {"name": "hub-token"}}
OF_HUB: Object = {"source": "hf://team/sdxl", "revision": COMMIT}


def test_the_model_of_another_commit_is_another_sdxlmodel() -> None:
    one, other = resolved({"model": OF_HUB}), resolved({"model": {**OF_HUB, "revision": "d" * 40}})
    assert one.model.spec["revision"] == COMMIT
    assert one.model.name.startswith("hf-team-sdxl-")
    assert one.model.name != other.model.name
    assert one.model.path == f"/models/{one.model.name}"


def test_a_token_is_no_part_of_what_the_files_are() -> None:
    plain, with_token = resolved({"model": OF_HUB}), resolved({"model": {**OF_HUB, **TOKEN}})
    assert (plain.model.name, plain.bank_name) == (with_token.model.name, with_token.bank_name)


def test_a_token_is_no_part_of_a_revision() -> None:
    def content(token: Object) -> Object:
        adapter = {"name": "pixel", "source": "hf://team/pixel", "revision": COMMIT, **token}
        refiner = {"source": "hf://team/refiner", "revision": COMMIT, **token}
        return resolved({"model": {**OF_HUB, **token, "adapters": [adapter], "refiner": refiner}}).content

    assert content(TOKEN) == content({})
    assert content({})["model"]["adapters"][0]["revision"] == COMMIT


@pytest.mark.parametrize(
    ("source", "own", "token"),
    [
        ("hf://team/pixel", {}, "hub-token"),
        ("hf://team/pixel", {"tokenSecretRef": {"name": "other"}}, "other"),
        ("modelscope://team/pixel", {}, None),
        ("modelscope://team/pixel", {"tokenSecretRef": {"name": "other"}}, "other"),
        ("demo://pixel", {}, None),
        ("pvc://loras/pixel", {}, None),
    ],
)
def test_the_models_token_is_the_adapters_and_the_refiners_where_both_are_of_one_hub(
    source: str, own: Object, token: str | None
) -> None:
    more = {"source": source, **own}
    model = {**OF_HUB, **TOKEN, "adapters": [{"name": "pixel", **more}], "refiner": more}
    service = resolved({"model": model})
    assert service.refiner is not None
    for weights in (service.refiner, *service.adapters):
        assert (weights.token and weights.token.name) == token


def tokens_of(job: Object) -> list[Object]:
    """The Secrets that a fetch Job has tokens from."""
    volumes = {item["name"]: item for item in job["spec"]["template"]["spec"]["volumes"]}
    return list(volumes["hub-tokens"]["projected"]["sources"]) if "hub-tokens" in volumes else []


def test_a_fetch_job_gets_the_token_of_each_service_that_uses_the_model_and_of_no_other() -> None:
    one, two = resolved({"model": {**OF_HUB, **TOKEN}}), resolved({"model": {**OF_HUB, "tokenSecretRef": SECOND}})
    plain, other = resolved({"model": OF_HUB}), resolved({"model": {"source": "hf://team/else", **TOKEN}})
    demand = Demand.of(one.model.name, [item.spec for item in (two, plain, other, one)])
    assert demand.tokens == (("another", "hf"), ("hub-token", "token"))
    model = owner(MODEL, one.model.name, one.model.spec)
    sources = tokens_of(fetch_job(model, "i", "Always", demand))
    assert [item["secret"]["name"] for item in sources] == ["another", "hub-token"]
    assert all(item["secret"]["optional"] for item in sources), "one that is missing is no reason to wait"
    alone = tokens_of(fetch_job(model, "i", "Always", Demand.of(one.model.name, [one.spec])))
    assert "optional" not in alone[0]["secret"], "the only one is worth waiting for"
    assert tokens_of(fetch_job(model, "i", "Always", Demand.of(one.model.name, [plain.spec]))) == []


def test_what_an_admin_sets_for_fetch_jobs_cannot_replace_what_the_operator_says() -> None:
    model = owner(MODEL, "m", {"source": "hf://team/sdxl", "revision": COMMIT})
    given = {"HF_ENDPOINT": "https://mirror", "SDXL_MODEL_SOURCE": "other"}
    container = fetch_job(model, "i", "Always", variables=given)["spec"]["template"]["spec"]["containers"][0]
    found = {item["name"]: item["value"] for item in container["env"]}
    assert (found["HF_ENDPOINT"], found["SDXL_MODEL_SOURCE"]) == ("https://mirror", "hf://team/sdxl")


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"adapters": [PIXEL]}},
        {"model": {"refiner": REFINER}},
        {"auth": {"apiKeysSecretRef": {"name": "keys"}}},
        {"server": {"topologySpread": [{"topologyKey": "zone"}]}},
        {"server": {"recycleAfterRequests": 5}},
        {"server": {"logPrompts": True}},
        {"buckets": [{"width": 128, "height": 128, "promptTokens": 154}]},
    ],
    ids=["adapters", "refiner", "auth", "topologySpread", "recycleAfterRequests", "logPrompts", "promptTokens"],
)
def test_what_pods_have_makes_a_revision_of_its_own(change: Object) -> None:
    assert resolved(change).content != resolved().content
    assert template(resolved(change)) != template(resolved())


def test_a_deployment_carries_a_label_for_each_model_that_its_pods_mount() -> None:
    service = resolved(FURTHER)
    stored = revision.build(a_service(), service, template(service), 1)
    labels = deployment.build(a_service(), service, stored)["metadata"]["labels"]
    assert {naming.uses_model_label(item.name) for item in service.weights} <= set(labels)
    assert revision.models_used(stored) == tuple(sorted(item.name for item in service.weights))


def test_a_revision_of_0_1_0_still_says_which_model_its_pods_mount() -> None:
    assert revision.models_used({"data": {"uses": {"model": "demo-shapes-1", "bank": "b"}}}) == ("demo-shapes-1",)


def test_the_label_of_a_model_is_one_however_long_and_odd_its_source() -> None:
    chance = random.Random(5)
    for _ in range(300):
        text = "".join(chance.choices("abcXYZ019-._/:äß ", k=chance.randint(1, 250)))
        name = naming.model_name({"source": f"pvc://{text}", "content": "Adapter"})
        prefix, _, key = naming.uses_model_label(name).partition("/")
        assert prefix == "uses-model.sdxl.dev"
        assert len(key) <= 63
        assert key == name


def test_what_status_names_is_read_back_from_it() -> None:
    models = [
        used(None, "model", "base"),
        used(None, "refiner", "second"),
        used(None, "adapters/pixel", "p"),
        used(None, "adapters/ink", "i"),
    ]
    assert naming.model_uses(members(models)) == tuple(item.use for item in models)
    assert naming.model_uses(members(models[:1])) == (ModelUse("model", "base"),)
    assert naming.model_uses({}) == ()


def test_status_names_every_model_by_its_use() -> None:
    models = (used(present()), used(present(), "refiner", "r"), used(present(), "adapters/pixel", "p"))
    status = service_status.build(a_service(), a_view(models=models), NOW)
    assert (status["model"], status["refiner"]) == ("m", "r")
    assert status["adapters"] == [{"name": "pixel", "model": "p"}]
    plain = service_status.build(a_service(), a_view(), NOW)
    assert not {"refiner", "adapters"} & set(plain)


def test_model_ready_says_which_of_several_it_waits_for() -> None:
    models = (used(present()), used(failing(Reason.FETCHING, "Job x is at work"), "adapters/pixel", "demo-pixel-1"))
    found = of_service(a_view(models=models), "ModelReady")
    assert (found["status"], found["reason"]) == ("False", "Fetching")
    assert found["message"] == "the adapter pixel (demo-pixel-1): Job x is at work"
    assert of_service(a_view(models=models))["message"] == found["message"]


def test_one_that_waiting_does_not_help_is_told_before_one_that_waits() -> None:
    models = (
        used(failing(Reason.FETCHING, "at work")),
        used(failing(Reason.MODEL_MISSING, "/models/r is empty", stalled=True), "refiner", "r"),
    )
    found = of_service(a_view(models=models))
    assert (found["reason"], found["message"]) == ("ModelMissing", "the refiner (r): /models/r is empty")
    assert of_service(a_view(models=models), "Stalled")["reason"] == "ModelMissing"


def test_a_model_that_was_not_looked_at_yet_is_waited_for_by_name() -> None:
    found = of_models([used(present()), used(None, "refiner", "r")])
    assert (found.reason, found.message[:16]) == (Reason.WAITING_FOR_MODEL, "the refiner (r):")


def test_all_that_are_there_are_listed_and_a_lone_one_speaks_for_itself() -> None:
    assert of_models([used(present())]).message == "1 files, 2 bytes"
    both = of_models([used(present("a")), used(present("b"), "adapters/pixel", "p")])
    assert (both.holds, both.message) == (True, "the model (m): a; the adapter pixel (p): b")


def test_the_last_failure_may_be_that_of_an_adapter() -> None:
    failure = {"reason": "FetchFailed", "message": "boom", "component": "fetch", "time": at(5)}
    broken = child(Reason.FETCH_FAILED, holds=False, message="boom", lastFailure=failure)
    view = a_view(models=(used(present()), used(broken, "adapters/pixel", "p")))
    assert service_status.build(a_service(), view, NOW)["lastFailure"] == failure


def test_buckets_divide_by_what_the_refiner_needs_too_and_an_adapter_needs_nothing() -> None:
    spec = resolved({"buckets": [{"width": 160, "height": 128}]}).spec

    def judged(*pairs: tuple[str, Object]) -> str:
        return measured(spec, [UsedModel(ModelUse(role, "x"), {"status": status}) for role, status in pairs]).message

    base, adapter = ("model", {"sizeMultiple": 32}), ("adapters/pixel", {"digest": DIGEST, "sizeMultiple": 1})
    assert judged(base, adapter) == ""
    said = judged(base, ("refiner", {"sizeMultiple": 64}), adapter)
    assert said == "the refiner needs widths and heights that are multiples of 64; not so: " + (
        "160x128 (nearest: 128x128, 192x128)"
    )


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        ({"width": 1024, "height": 768, "batch": 4}, "1024x768b4"),
        ({"width": 1024, "height": 768}, "1024x768b1"),
        ({"width": 1024, "height": 768, "promptTokens": 77}, "1024x768b1"),
        ({"width": 1024, "height": 768, "batch": 2, "promptTokens": 231}, "1024x768b2t231"),
    ],
)
def test_a_buckets_key_says_its_prompt_tokens_where_they_are_not_77(bucket: dict[str, int], key: str) -> None:
    assert naming.bucket_key(bucket) == key
    assert resolved({"buckets": [bucket]}).bucket_keys == (key,)
