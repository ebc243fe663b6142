"""Banks from a registry and banks by name: from where, with what, for what."""

from dataclasses import replace
from typing import Any

import pytest

from sdxl_operator import naming
from sdxl_operator.accept import bank_fits
from sdxl_operator.naming import BANK, Object
from sdxl_operator.plan import bank as plan_bank
from sdxl_operator.plan.bank_environment import bank_path
from sdxl_operator.plan.bank_import import allowed_by
from sdxl_operator.plan.resolved import Resolved
from sdxl_operator.status import bank as bank_status
from tests.operator.builders import a_profile, merged, owner, resolved
from tests.operator.observations import FROM, IMPORTED_BANK, LATER, MISSING, USED
from tests.operator.test_plan_golden import FULL, IMPORTING, import_job, on_host, signed_and_plain

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("registries", "entry"),
    [
        (["registry.example"], "registry.example"),
        (["other", "registry.example/team"], "registry.example/team"),
        (["registry.example/team/bank"], "registry.example/team/bank"),
        (["http://registry.example/team"], "http://registry.example/team"),
        ([], None),
        (["registry.example/tea"], None),
        (["registry.example/team/bank/more"], None),
        (["registry.exampl"], None),
        (["example"], None),
        (["registry.example:5000"], None),
    ],
)
def test_a_bank_may_come_from_below_a_host_or_a_prefix(registries: list[str], entry: str | None) -> None:
    assert allowed_by(f"oci://registry.example/team/bank@{DIGEST}", registries) == entry
    assert allowed_by(f"oci://registry.example/team/bank:v1@{DIGEST}", registries) == entry


def test_a_host_with_another_port_is_another_host() -> None:
    assert allowed_by(f"oci://registry.example:5000/bank@{DIGEST}", ["registry.example:5000"])
    assert allowed_by(f"oci://registry.example:5000/bank@{DIGEST}", ["registry.example"]) is None


def container(job: Object) -> Object:
    return dict(job["spec"]["template"]["spec"]["containers"][0])


def environment(job: Object) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in container(job)["env"]}


def test_an_import_asks_for_no_card_and_touches_none() -> None:
    job = import_job(resolved(merged(FULL, IMPORTING), signed_and_plain()))
    pod = job["spec"]["template"]["spec"]
    resources = container(job)["resources"]
    assert not [name for part in resources.values() for name in part if "/" in name]
    assert not [volume for volume in pod["volumes"] if "hostPath" in volume]
    assert "runtimeClassName" not in pod
    assert "schedulerName" not in pod


def test_an_import_runs_where_the_replicas_do_so_that_its_volume_is_there() -> None:
    profile = signed_and_plain()
    pod = import_job(resolved(merged(FULL, IMPORTING), profile))["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == profile["spec"]["nodeSelector"]
    assert [item["key"] for item in pod["tolerations"]] == ["card"]
    assert "TASK_QUEUE_ENABLE" in {item["name"] for item in pod["containers"][0]["env"]}


def test_the_services_pull_secrets_are_the_credentials_and_need_not_exist() -> None:
    job = import_job(resolved(merged(IMPORTING, {"server": {"imagePullSecrets": [{"name": "b"}, {"name": "a"}]}})))
    pod = job["spec"]["template"]["spec"]
    volume = next(item for item in pod["volumes"] if item["name"] == "registry")
    secrets = [source["secret"] for source in volume["projected"]["sources"]]
    assert [(item["name"], item["items"][0]["path"], item["optional"]) for item in secrets] == [
        ("a", "a.json", True),
        ("b", "b.json", True),
    ]
    assert environment(job)["SDXL_REGISTRY_CONFIG"] == "/etc/sdxl/registry"
    assert pod["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]
    assert "SDXL_REGISTRY_CONFIG" not in environment(import_job(resolved(IMPORTING)))


def test_what_the_admin_says_of_signatures_and_tls_reaches_the_import() -> None:
    said = environment(import_job(resolved(IMPORTING, signed_and_plain())))
    assert said["SDXL_BANK_PUBLIC_KEY"].startswith("-----BEGIN PUBLIC KEY-----")
    assert said["SDXL_REGISTRY_PLAIN_HTTP"] == "true"
    silent = environment(import_job(resolved(IMPORTING, a_profile(change={"bankRegistries": ["registry.example"]}))))
    assert not {"SDXL_BANK_PUBLIC_KEY", "SDXL_REGISTRY_PLAIN_HTTP"} & set(silent)


def test_an_import_is_small_unless_somebody_says_what_the_job_gets() -> None:
    big = {"server": {"resources": {"requests": {"memory": "64Gi"}}}}
    assert container(import_job(resolved(merged(IMPORTING, big))))["resources"]["requests"]["memory"] == "512Mi"
    said = {"compile": {"resources": {"requests": {"memory": "2Gi"}}}}
    assert container(import_job(resolved(merged(IMPORTING, said))))["resources"] == {"requests": {"memory": "2Gi"}}


def test_on_one_volume_what_was_imported_never_meets_what_was_compiled() -> None:
    other = FROM.replace("ab", "cd")
    paths = {bank_path({}), bank_path({"from": FROM}), bank_path({"from": other})}
    assert len(paths) == 3
    assert all(path.startswith("/bank/") for path in paths)


@pytest.mark.parametrize("change", [IMPORTING, {"tuneBank": {"bankRef": {"name": "shared"}}}])
def test_who_names_a_bank_wants_one_whatever_the_profile_recommends(change: Object) -> None:
    profile = a_profile(change={"recommendedCompileMode": "Eager"})
    assert resolved({}, profile).compile_mode == "Eager"
    assert resolved(change, profile).compile_mode == "AheadOfTime"


def named(**changes: Any) -> Resolved:
    """A service that names a bank which differs in this from the one that it would make."""
    service = resolved({"tuneBank": {"bankRef": {"name": "shared"}}})
    return replace(service, named_bank=owner(BANK, "shared", merged(service.own_bank, changes)))


def test_a_bank_that_is_named_is_used_as_it_is_and_made_by_nobody() -> None:
    service = named(volume={"claimName": "somewhere"})
    assert (service.bank_name, service.bank) == ("shared", (service.named_bank or {})["spec"])
    assert plan_bank.build(service) is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"volume": {"claimName": "somewhere"}},
        {"from": FROM},
        {"model": {"name": "another-copy"}},
        {"precision": "Auto", "acceleratorCount": 1},
    ],
)
def test_a_bank_fits_wherever_its_files_are_and_come_from(changes: Object) -> None:
    assert bank_fits(named(**changes)).holds


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"source": "pvc://other"}}, "model.source is pvc://other there, demo://shapes here"),
        ({"model": {"variant": "fp16"}}, "model.variant is fp16 there"),
        ({"profile": "npu"}, "profile is npu there, cpu here"),
        ({"image": "x:2"}, "image is x:2 there"),
        ({"precision": "BF16"}, "precision is BF16 there, Auto here"),
        ({"acceleratorCount": 2}, "acceleratorCount is 2 there, 1 here"),
        ({"compile": {"minimumSpeedupPercent": 110}}, "compile.minimumSpeedupPercent is 110 there, 102 here"),
    ],
)
def test_a_bank_that_was_made_for_something_else_is_refused_field_by_field(changes: Object, words: str) -> None:
    found = bank_fits(named(**changes))
    assert not found.holds
    assert found.stalled
    assert words in found.message


def test_the_part_of_a_bank_for_some_nodes_cannot_be_named() -> None:
    service = named(nodeClass={"chip": "x"})
    part = service.named_bank or {}
    part["metadata"]["labels"] = {naming.WHOLE_BANK_LABEL: "the-whole"}
    found = bank_fits(service)
    assert (found.holds, found.reason, found.stalled) == (False, naming.Reason.BANK_DIFFERS, True)
    assert found.message.endswith("name the-whole")


def test_all_fields_that_differ_are_named_at_once() -> None:
    text = bank_fits(named(profile="npu", precision="BF16")).message
    assert "profile is npu there" in text
    assert "precision is BF16 there" in text


def test_a_service_without_a_named_bank_needs_none_to_fit() -> None:
    assert bank_fits(resolved()).holds
    assert bank_fits(resolved(IMPORTING)).holds


def test_a_missing_bucket_does_not_count_as_finished_in_the_summary() -> None:
    status = bank_status.build(
        {**IMPORTED_BANK, "status": {"entries": [MISSING]}}, None, None, ["128x128b1"], USED, "claim", LATER
    )
    assert status["summary"] == "0/1"
    assert status["entries"] == [MISSING]


def test_what_an_import_said_of_another_identity_stays_in_status() -> None:
    before = {**IMPORTED_BANK, "status": {"entries": [{**MISSING, "state": "Kept"}], "stale": "torch differs"}}
    status = bank_status.build(before, None, None, ["128x128b1"], USED, "claim", LATER)
    assert status["stale"] == "torch differs"


def test_host_profiles_of_the_golden_files_have_what_these_tests_look_for() -> None:
    assert on_host()["spec"]["schedulerName"] == "volcano"
    assert on_host()["spec"]["hostMounts"]
