"""What holds for every plan, whatever the spec."""

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from sdxl_operator import naming
from sdxl_operator.api.server import RESERVED_ENVIRONMENT
from sdxl_operator.api.service import ServiceSpec
from sdxl_operator.naming import Object
from sdxl_operator.plan import deployment, job, pod, revision
from sdxl_operator.plan.bank import Demand
from sdxl_operator.plan.weights import model_path
from tests.operator.builders import a_profile, a_service, chart_profile, resolved, service_spec
from tests.operator.test_plan_golden import FROM, FULL, FURTHER, PLANS, compile_job, fetch_job, on_host, template

LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
POD_PLANS = [name for name in PLANS if name.startswith(("template", "fetch", "compile", "import"))]


def pod_of(name: str) -> Object:
    plan = PLANS[name]()
    assert plan is not None
    return dict(plan["spec"]["template"]["spec"] if plan.get("kind") == "Job" else plan["spec"])


def everything(value: Any) -> Iterator[tuple[str, Any]]:
    """Each member of a plan, at any depth."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name, inner
            yield from everything(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from everything(inner)


@pytest.mark.parametrize("name", POD_PLANS)
def test_a_pod_may_do_nothing_but_its_work(name: str) -> None:
    spec = pod_of(name)
    container = spec["containers"][0]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    members = dict(everything(spec))
    assert not {"privileged", "hostNetwork", "hostPID", "hostIPC", "serviceAccountName"} & set(members)


@pytest.mark.parametrize("name", POD_PLANS)
def test_every_mount_has_its_volume_and_every_volume_a_mount(name: str) -> None:
    spec = pod_of(name)
    mounts = spec["containers"][0]["volumeMounts"]
    names = [volume["name"] for volume in spec["volumes"]]
    assert len(set(names)) == len(names)
    assert {mount["name"] for mount in mounts} == set(names)
    assert len({mount["mountPath"] for mount in mounts}) == len(mounts)


@pytest.mark.parametrize("name", POD_PLANS)
def test_no_variable_is_given_twice_and_no_devices_are_picked_by_hand(name: str) -> None:
    variables = [item["name"] for item in pod_of(name)["containers"][0]["env"]]
    assert len(set(variables)) == len(variables)
    assert not [item for item in variables if "VISIBLE_DEVICES" in item]


@pytest.mark.parametrize("name", [name for name in POD_PLANS if "ascend" in name and "import" not in name])
def test_an_extended_resource_is_requested_as_it_is_limited(name: str) -> None:
    resources = pod_of(name)["containers"][0]["resources"]
    assert resources["requests"]["huawei.com/Ascend910"] == resources["limits"]["huawei.com/Ascend910"] == "2"


def test_a_resource_counts_per_accelerator() -> None:
    profile = a_profile(change={"resource": {"name": "huawei.com/Ascend910", "count": 2}})
    container = template(resolved({"accelerator": {"count": 3}}, profile))["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"huawei.com/Ascend910": "6"}


def mounts(plan: Object) -> dict[str, bool]:
    spec = plan["spec"]["template"]["spec"] if plan.get("kind") == "Job" else plan["spec"]
    return {item["mountPath"]: item.get("readOnly", False) for item in spec["containers"][0]["volumeMounts"]}


def test_only_the_one_that_fills_a_volume_may_write_to_it() -> None:
    assert {**mounts(template(resolved()))} == {
        "/models": True,
        "/bank": True,
        "/etc/sdxl/accepted": True,
        "/etc/sdxl/signing": True,
        "/tmp": False,
        "/dev/shm": False,
    }
    assert mounts(compile_job(resolved()))["/models"] is True
    assert mounts(compile_job(resolved()))["/bank"] is False
    assert mounts(fetch_job(resolved().model))["/models"] is False
    assert mounts(fetch_job(resolved({"model": {"source": "pvc://weights/x"}}).model))["/models"] is True
    further = mounts(template(resolved(FURTHER)))
    assert {path for path, read_only in further.items() if not read_only} == {"/tmp", "/dev/shm"}
    assert {"/refiner", "/adapters/pixel", "/adapters/ink", "/etc/sdxl/keys"} <= set(further)


def test_a_claim_that_is_mounted_twice_is_one_volume() -> None:
    shared = {"tuneBank": {"volume": {"claimName": "shared"}}}
    for plan in (template(resolved(shared)), compile_job(resolved(shared))["spec"]["template"]):
        claims = [volume for volume in plan["spec"]["volumes"] if "persistentVolumeClaim" in volume]
        assert len(claims) == 1
        assert sum(item["name"] == claims[0]["name"] for item in plan["spec"]["containers"][0]["volumeMounts"]) == 2


@pytest.mark.parametrize(
    ("source", "claim", "path"),
    [
        ("demo://shapes", None, "/models/m"),
        ("pvc://weights", "weights", "/models"),
        ("pvc://weights/a/b", "weights", "/models/a/b"),
    ],
)
def test_a_models_folder_follows_from_its_source(source: str, claim: str | None, path: str) -> None:
    assert model_path(source, "m") == path
    assert resolved({"model": {"source": source}}).model.claim == (claim or resolved().model.name)


def test_names_are_dns_labels_however_long_and_odd_what_they_are_made_of() -> None:
    chance = random.Random(4)
    letters = "abcXYZ019-._/:äß "
    for _ in range(500):
        text = "".join(chance.choices(letters, k=chance.randint(1, 250)))
        model = naming.model_name({"source": f"pvc://{text}"})
        bank = naming.bank_name({"profile": text, "precision": "BF16"})
        found = job.build(
            {
                "metadata": {"name": chance.choice([model, bank]), "namespace": "n", "uid": "u"},
                "apiVersion": "",
                "kind": "",
            },
            naming.BANK_LABEL,
            chance.choice(["fetch", "compile", "import"]),
            {"text": text},
            None,
        )["metadata"]["name"]
        for name in (model, bank, found, f"{bank}-accepted"):
            assert LABEL.match(name), (text, name)
            assert len(name) <= 63, (text, name)


def test_a_revisions_name_is_a_label_even_of_the_longest_service() -> None:
    for name in ("a" * 63, "a-" * 31 + "a", "a"):
        found = revision.build(a_service(name=name), resolved(name=name), {}, 1)["metadata"]["name"]
        assert LABEL.match(found)
        assert len(found) <= 63


def test_services_of_equal_model_and_bank_share_them() -> None:
    one, two = resolved(name="one"), resolved({"replicas": 5, "buckets": [{"width": 64, "height": 64}]}, name="two")
    assert (one.model.name, one.bank_name) == (two.model.name, two.bank_name)
    assert one.content != two.content


@pytest.mark.parametrize(
    ("change", "profile"),
    [
        ({"model": {"source": "pvc://weights"}}, {}),
        ({"model": {"variant": "fp16"}}, {}),
        ({"model": {"volume": {"size": "1Gi"}}}, {}),
        ({"precision": "BF16"}, {}),
        ({"accelerator": {"count": 2}}, {}),
        ({"accelerator": {"profile": "other"}}, {}),
        ({"compile": {"tuning": {"minimumSpeedupPercent": 110}}}, {}),
        ({"tuneBank": {"volume": {"storageClassName": "fast"}}}, {}),
        ({"tuneBank": {"from": FROM}}, {}),
        ({}, {"image": "example.org/sdxl-runtime:2"}),
    ],
)
def test_a_bank_of_other_content_has_another_name(change: Object, profile: Object) -> None:
    assert resolved(change, a_profile(change=profile)).bank_name != resolved().bank_name


@pytest.mark.parametrize(
    "change",
    [
        {"replicas": 3},
        {"suspend": True},
        {"expose": {"service": {"port": 1}}},
        {"tuneBank": {"retention": "Delete"}},
        {"rollout": {"strategy": "Surge"}},
        {"compile": {"tuning": {"activeDeadlineSeconds": 60}}},
    ],
)
def test_what_is_live_makes_no_revision_and_no_bank(change: Object) -> None:
    assert resolved(change).content == resolved().content
    assert resolved(change).bank_name == resolved().bank_name


def test_the_order_of_buckets_and_of_users_does_not_matter_to_the_job() -> None:
    buckets = [{"width": 64 * width, "height": 64 * height} for width in (1, 2, 3) for height in (3, 2, 1)]
    expected = compile_job(resolved({"buckets": buckets}))
    chance = random.Random(4)
    for _ in range(20):
        chance.shuffle(buckets)
        assert compile_job(resolved({"buckets": buckets})) == expected
    one, two = resolved({"buckets": buckets[:4]}).spec, resolved({"buckets": buckets[2:]}).spec
    assert (
        Demand.of([one, two]).buckets
        == Demand.of([two, one]).buckets
        == Demand.of([resolved({"buckets": buckets}).spec]).buckets
    )


def test_the_deadline_of_the_compile_job_makes_no_revision_beside_other_options_either() -> None:
    with_mode: Object = {"compile": {"mode": "AheadOfTime", "tuning": {"minimumSpeedupPercent": 110}}}
    deadline = {
        "compile": {**with_mode["compile"], "tuning": {"minimumSpeedupPercent": 110, "activeDeadlineSeconds": 60}}
    }
    assert resolved(deadline).content == resolved(with_mode).content
    only_mode: Object = {"compile": {"mode": "AheadOfTime"}}
    assert (
        resolved({"compile": {**only_mode["compile"], "tuning": {"activeDeadlineSeconds": 60}}}).content
        == resolved(only_mode).content
    )
    assert resolved(with_mode).content != resolved(only_mode).content


def test_a_default_that_is_written_out_or_added_by_a_newer_operator_makes_no_revision() -> None:
    spelled_out = ServiceSpec.model_validate(service_spec()).model_dump(by_alias=True, mode="json", exclude_none=True)
    assert resolved(spelled_out).content == resolved().content
    assert resolved().content == {
        "model": {"source": "demo://shapes"},
        "buckets": [{"width": 128, "height": 128}],
        "rollout": {"drainTimeoutSeconds": 420},
    }


def test_a_job_that_differs_has_another_name() -> None:
    names = {
        compile_job(resolved(change))["metadata"]["name"]
        for change in (
            {},
            {"buckets": [{"width": 64, "height": 64}]},
            {"compile": {"tuning": {"activeDeadlineSeconds": 60}}},
            {"compile": {"resources": {"limits": {"memory": "1Gi"}}}},
        )
    }
    assert len(names) == 4


def test_the_operators_own_variables_and_labels_win() -> None:
    labels = {naming.SERVICE_LABEL: "theirs", naming.MANAGED_BY: "them", "team": "a"}
    found = template(resolved({"server": {"labels": labels}}))
    assert found["metadata"]["labels"] | {"team": "a"} == found["metadata"]["labels"]
    assert found["metadata"]["labels"][naming.SERVICE_LABEL] == "studio"
    assert found["metadata"]["labels"][naming.MANAGED_BY] == naming.FIELD_MANAGER


def test_a_variable_that_profile_and_user_both_name_is_given_once_and_the_users_value_wins() -> None:
    profile = a_profile(change={"environment": [{"name": "A", "value": "admin"}, {"name": "HOME", "value": "/root"}]})
    found = template(resolved({"server": {"env": [{"name": "A", "value": "user"}]}}, profile))
    variables = [(item["name"], item.get("value")) for item in found["spec"]["containers"][0]["env"]]
    assert [item for item in variables if item[0] in ("A", "HOME")] == [("A", "user"), ("HOME", "/tmp")]


def test_every_variable_of_the_operator_is_one_that_a_user_cannot_set() -> None:
    ours = {item["name"] for item in template(resolved())["spec"]["containers"][0]["env"]}
    assert ours
    assert all(re.match(RESERVED_ENVIRONMENT, name) for name in ours)


def test_what_is_secret_is_readable_by_the_runtime_s_group_and_by_nobody_else() -> None:
    volumes = template(resolved(FURTHER))["spec"]["volumes"]
    secrets = {volume["secret"]["secretName"]: volume["secret"] for volume in volumes if "secret" in volume}
    assert set(secrets) == {"studio-signing", "studio-keys"}
    assert {secret["defaultMode"] for secret in secrets.values()} == {0o440}


def test_replicas_are_spread_among_those_of_their_own_revision() -> None:
    found = template(resolved(FURTHER))["spec"]["topologySpreadConstraints"]
    assert {item["topologyKey"]: item["maxSkew"] for item in found} == {
        "kubernetes.io/hostname": 1,
        "topology.kubernetes.io/zone": 2,
    }
    for item in found:
        assert item["labelSelector"] == {"matchLabels": {naming.SERVICE_LABEL: "studio"}}
        assert item["matchLabelKeys"] == ["pod-template-hash"]
    assert "topologySpreadConstraints" not in template(resolved())["spec"]


def test_buckets_for_longer_prompts_come_after_those_of_their_shape_in_the_job() -> None:
    tokens = [{"width": 64, "height": 64, "promptTokens": number} for number in (231, 77, 154)]
    keys = Demand.of([resolved({"buckets": tokens}).spec]).keys
    assert keys == ("64x64b1", "64x64b1t154", "64x64b1t231")
    (value,) = (
        item["value"]
        for item in compile_job(resolved({"buckets": tokens}))["spec"]["template"]["spec"]["containers"][0]["env"]
        if item["name"] == "SDXL_BUCKETS"
    )
    assert [bucket.get("promptTokens") for bucket in json.loads(value)] == [None, 154, 231]


def test_the_drain_fits_into_the_grace_period_and_the_budget_into_the_probe() -> None:
    spec = template(
        resolved({"rollout": {"drainTimeoutSeconds": 500}}, a_profile(change={"startupBudgetSeconds": 901}))
    )
    probe = spec["spec"]["containers"][0]["startupProbe"]
    assert spec["spec"]["terminationGracePeriodSeconds"] == 530
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 901


def test_without_surge_no_card_beyond_those_there_are_is_asked_for() -> None:
    frozen = {"metadata": {"name": "r"}, "data": {"template": template(resolved()), "uses": {"models": [], "bank": ""}}}
    calm = deployment.build(a_service(), resolved({"rollout": {"maxUnavailable": 2}}), frozen)
    surge = deployment.build(a_service(), resolved({"rollout": {"strategy": "Surge"}}), frozen)
    assert calm["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 2}
    assert surge["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert naming.USES_BANK_LABEL not in calm["metadata"]["labels"]


def test_a_deployment_runs_the_stored_template_and_not_a_new_one() -> None:
    stored = revision.build(a_service(), resolved(), template(resolved()), 1)
    newer = resolved(None, a_profile(change={"image": "example.org/sdxl-runtime:2"}))
    found = deployment.build(a_service(), newer, stored)["spec"]["template"]
    assert found["spec"] == stored["data"]["template"]["spec"]


def test_a_plan_does_not_depend_on_anything_but_its_input() -> None:
    for plan in PLANS.values():
        assert json.dumps(plan()) == json.dumps(plan())


def test_the_chart_s_profiles_make_pods() -> None:
    for name in ("cpu", "simulated", "ascend-910b"):
        found = template(resolved(None, chart_profile(name)))["spec"]["containers"][0]
        assert found["env"][-1] == {"name": "HOME", "value": "/tmp"}
    assert on_host()["spec"]["hostMounts"]
    assert FULL["accelerator"]["count"] == 2
    assert pod.USER_ID != 0
