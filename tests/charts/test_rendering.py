"""What every set of values renders: the hardened pod, its settings, the CRDs, the names. Roles are in test_roles."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.chart import CHART, ROOT, helm
from sdxl_operator.naming import GROUP
from sdxl_operator.settings import OperatorSettings

CHART_YAML = yaml.safe_load((CHART / "Chart.yaml").read_text())


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [item for item in objects if item["kind"] == kind]


def pod_of(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (deployment,) = of_kind(objects, "Deployment")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def environment_of(objects: list[dict[str, Any]]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in pod_of(objects)["containers"][0]["env"]}


def test_helm_lint_finds_nothing_even_strictly(values: str) -> None:
    done = helm("lint", CHART, "--strict", "--values", CHART / "ci" / f"{values}-values.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


def test_the_pod_is_hardened(objects: list[dict[str, Any]]) -> None:
    pod = pod_of(objects)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
    assert not any("hostPath" in volume for volume in pod["volumes"])
    for container in pod["containers"] + pod.get("initContainers", []):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]


def test_one_operator_runs_at_a_time(objects: list[dict[str, Any]]) -> None:
    (deployment,) = of_kind(objects, "Deployment")
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_the_liveness_probe_asks_the_port_that_the_operator_is_told(objects: list[dict[str, Any]]) -> None:
    container = pod_of(objects)["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    settings = OperatorSettings.from_environment(environment_of(objects))
    for probe in ("livenessProbe", "startupProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": "health"}
    assert (ports["health"], ports["metrics"]) == (settings.health_port, settings.metrics_port)


def test_a_turn_that_has_begun_may_end_before_the_kubelet_kills(objects: list[dict[str, Any]]) -> None:
    settings = OperatorSettings.from_environment(environment_of(objects))
    assert pod_of(objects)["terminationGracePeriodSeconds"] > settings.stop_timeout_seconds


def test_the_operator_reads_every_variable_that_the_chart_sets(objects: list[dict[str, Any]]) -> None:
    OperatorSettings.from_environment(environment_of(objects))


def test_a_large_number_has_no_exponent(render: Any) -> None:
    assert environment_of(render("custom"))["SDXL_OPERATOR_RESYNC_SECONDS"] == "1200000"


def test_the_chart_can_set_every_setting_but_the_address(render: Any) -> None:
    everything = environment_of(render("custom", "--set", "watchNamespace=studio"))
    names = {f"SDXL_OPERATOR_{field.upper()}" for field in OperatorSettings.model_fields}
    assert names - everything.keys() == {"SDXL_OPERATOR_BIND_ADDRESS"}


def test_the_variables_of_fetch_jobs_reach_the_operator_as_they_are(render: Any) -> None:
    settings = OperatorSettings.from_environment(environment_of(render("custom")))
    assert settings.fetch_environment == {
        "HF_ENDPOINT": "https://hub.example.com",
        "HTTPS_PROXY": "http://proxy.example.com:3128",
        "NO_PROXY": "10.0.0.0/8,.svc",
    }


def test_the_defaults_of_the_chart_are_those_of_the_operator(render: Any) -> None:
    by_chart = OperatorSettings.from_environment(environment_of(render("default")))
    assert by_chart.model_copy(update={"profiles_folder": None}) == OperatorSettings()


def test_metrics_that_are_off_have_neither_port_nor_service(render: Any) -> None:
    objects = render("default", "--set", "metrics.enabled=false")
    assert OperatorSettings.from_environment(environment_of(objects)).metrics_port == 0
    assert of_kind(objects, "Service") == []


def test_the_service_and_the_network_policy_select_the_pod(objects: list[dict[str, Any]]) -> None:
    (deployment,) = of_kind(objects, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    selectors = [deployment["spec"]["selector"]["matchLabels"]]
    selectors += [service["spec"]["selector"] for service in of_kind(objects, "Service")]
    selectors += [policy["spec"]["podSelector"]["matchLabels"] for policy in of_kind(objects, "NetworkPolicy")]
    assert len(selectors) >= 2
    assert all(selector.items() <= labels for selector in selectors)


def test_the_crds_are_those_of_the_repository(render: Any) -> None:
    rendered = {crd["metadata"]["name"]: crd for crd in of_kind(render("default"), "CustomResourceDefinition")}
    committed = [yaml.safe_load(path.read_text()) for path in (ROOT / "crds").glob("*.yaml")]
    assert sorted(rendered) == sorted(crd["metadata"]["name"] for crd in committed)
    for crd in committed:
        ours = rendered[crd["metadata"]["name"]]
        assert ours["spec"] == crd["spec"]
        assert crd["metadata"]["annotations"].items() <= ours["metadata"]["annotations"].items()


def test_no_service_of_the_namespace_can_look_like_a_setting(objects: list[dict[str, Any]]) -> None:
    """Kubernetes would put SDXL_OPERATOR_METRICS_SERVICE_HOST into the container, which is no setting."""
    assert pod_of(objects)["enableServiceLinks"] is False


@pytest.mark.parametrize(("keep", "policy"), [("true", "keep"), ("false", None)])
def test_the_crds_outlive_the_release_unless_told_otherwise(render: Any, keep: str, policy: str | None) -> None:
    crds = of_kind(render("default", "--set", f"crds.keep={keep}"), "CustomResourceDefinition")
    assert {crd["metadata"]["annotations"].get("helm.sh/resource-policy") for crd in crds} == {policy}


def test_no_custom_resource_is_in_the_chart_since_its_crd_may_not_be_there_yet(objects: list[dict[str, Any]]) -> None:
    assert not [item["kind"] for item in objects if item["apiVersion"].startswith(f"{GROUP}/")]


def test_every_object_has_the_recommended_labels(objects: list[dict[str, Any]]) -> None:
    for item in objects:
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == CHART_YAML["name"]
        assert labels["app.kubernetes.io/instance"] == "release"
        assert labels["app.kubernetes.io/version"] == CHART_YAML["appVersion"]


def test_only_the_role_of_the_served_namespace_is_outside_the_releases(objects: list[dict[str, Any]]) -> None:
    strangers = [item for item in objects if item["metadata"].get("namespace", "sdxl-system") != "sdxl-system"]
    assert {item["kind"] for item in strangers} <= {"Role", "RoleBinding"}


def test_the_version_is_that_of_the_project() -> None:
    project = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert project
    assert CHART_YAML["version"] == CHART_YAML["appVersion"] == project[1]


def test_the_notes_say_what_to_do_next(values: str, tmp_path: Path) -> None:
    copy = shutil.copytree(CHART, tmp_path / "chart")
    (copy / "templates" / "NOTES.txt").rename(copy / "notes.txt")
    (copy / "templates" / "notes.yaml").write_text('notes: {{ tpl (.Files.Get "notes.txt") . | toJson }}')
    file = CHART / "ci" / f"{values}-values.yaml"
    done = helm("template", "release", copy, "--values", file, "--show-only", "templates/notes.yaml")
    assert done.returncode == 0, done.stderr
    notes = yaml.safe_load(done.stdout)["notes"]
    for command in ("rollout status", "get acceleratorprofiles", "apply -f", "get sdxl", "describe sdxl", "curl"):
        assert command in notes
