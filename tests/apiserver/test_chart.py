"""A real API server takes everything that the chart renders, with strict field validation."""

import json

import pytest

from dev import chart
from dev.chart import CHART
from tests.apiserver.conftest import ApiServer

NAMESPACES = ("sdxl-system", "studio")


@pytest.fixture
def namespaces(apiserver: ApiServer) -> None:
    """The release's namespace and the one that the namespaced values serve."""
    for name in NAMESPACES:
        apiserver.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("values", sorted(path.name for path in (CHART / "ci").glob("*.yaml")))
def test_every_object_of_the_chart_is_accepted(apiserver: ApiServer, values: str) -> None:
    objects = chart.template("--values", CHART / "ci" / values)
    said = apiserver.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-"),
        text_in="\n---\n".join(map(json.dumps, objects)),
    )
    assert len(said.splitlines()) == len(objects), said


@pytest.mark.usefixtures("namespaces")
def test_the_profiles_of_the_chart_are_accepted(apiserver: ApiServer) -> None:
    for values in ("default", "custom"):
        objects = chart.template("--values", CHART / "ci" / f"{values}-values.yaml")
        (profiles,) = (item["data"] for item in objects if item["kind"] == "ConfigMap")
        said = apiserver.kubectl(
            *("apply", "--dry-run=server", "--validate=strict", "-f", "-"), text_in="\n---\n".join(profiles.values())
        )
        assert len(said.splitlines()) == len(profiles), said


@pytest.mark.usefixtures("namespaces")
def test_an_operator_for_one_namespace_may_do_nothing_in_another(apiserver: ApiServer) -> None:
    roles = [
        item for item in chart.template("--values", CHART / "ci" / "namespaced-values.yaml") if "Role" in item["kind"]
    ]
    apiserver.apply(*roles)

    def may(verb: str, resource: str, *words: str) -> bool:
        account = "--as=system:serviceaccount:sdxl-system:release-sdxl-operator"
        return apiserver.kubectl("auth", "can-i", verb, resource, account, *words, check=False).startswith("yes")

    assert may("patch", "deployments.apps", "--namespace=studio")
    assert may("patch", "sdxlmodels.sdxl.dev", "--subresource=status", "--namespace=studio")
    assert may("list", "acceleratorprofiles.sdxl.dev")
    assert not may("patch", "deployments.apps", "--namespace=default")
    assert may("create", "secrets", "--namespace=studio")
    for verb in ("get", "list", "watch", "patch", "update", "delete"):
        assert not may(verb, "secrets", "--namespace=studio")
    assert not may("create", "acceleratorprofiles.sdxl.dev")
    assert not may("patch", "sdxlservices.sdxl.dev", "--namespace=studio")
