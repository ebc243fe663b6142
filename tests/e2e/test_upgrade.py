"""The operator is upgraded from the version before this one while clients ask without a pause, in order.

What an upgrade may do to replicas is nothing: they are replaced when their owner edits the service.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from dev import images, previous
from dev.demo.kubectl import SYSTEM_NAMESPACE, Kubectl, install_chart
from dev.shell import Failed
from tests.e2e.rollouts import assert_nobody_noticed, replicas_of, under_load
from tests.e2e.world import CHART_SETTINGS, OPERATOR_POD, Namespace, Object, condition, simulated_service, status_line

NAME = "studio"
CRD = "acceleratorprofiles.sdxl.dev"
FIELD = "podAnnotations"
"""Of an AcceleratorProfile's spec; no profile here has any."""


@dataclass(frozen=True)
class Version:
    """What is installed together."""

    chart: Path
    images: Mapping[str, str]

    def install(self, kubectl: Kubectl) -> None:
        """Or upgrade to it, and wait until its operator is up."""
        install_chart(kubectl, self.images, *CHART_SETTINGS, chart=self.chart)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, built: Mapping[str, str]) -> Version:
    """The version before this one, its images built from its own files."""
    try:
        commit = previous.commit()
    except Failed as reason:
        pytest.skip(str(reason))
    folder = tmp_path_factory.mktemp("previous")
    previous.extract(commit, folder)
    found = images.build_and_load(root=folder)
    if found["runtime"] == built["runtime"]:
        found["runtime"] = images.RUNTIME.latest  # the same under another name, so that there is an update to offer
    print(f"upgrading from {previous.git('log', '-1', '--format=%h %s', commit).strip()}: {found}")
    return Version(folder / "charts" / "sdxl-operator", found)


@pytest.fixture(scope="module")
def new(built: Mapping[str, str]) -> Version:
    """This version."""
    return Version(previous.ROOT / "charts" / "sdxl-operator", built)


@pytest.fixture(scope="module", autouse=True)
def ends_as_it_began(kubectl: Kubectl, old: Version, new: Version) -> Iterator[None]:
    """Whatever happens here, this version is installed at the end."""
    yield
    new.install(kubectl)


def operator_pods(kubectl: Kubectl) -> list[Object]:
    """Those that are not on their way out."""
    pods = Namespace(kubectl, SYSTEM_NAMESPACE).items("pods", "-l", OPERATOR_POD)
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def standing(namespace: Namespace) -> dict[str, tuple[str, int]]:
    """Of each replica: its uid, and how often its container was started anew."""
    return {
        pod["metadata"]["name"]: (pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"])
        for pod in replicas_of(namespace, NAME)
    }


def images_of(namespace: Namespace) -> set[str]:
    """What the replicas run."""
    return {pod["spec"]["containers"][0]["image"] for pod in replicas_of(namespace, NAME)}


def test_a_service_is_made_by_the_version_before(namespace: Namespace, kubectl: Kubectl, old: Version) -> None:
    old.install(kubectl)
    (pod,) = operator_pods(kubectl)
    assert pod["spec"]["containers"][0]["image"] == old.images["operator"]
    namespace.apply(simulated_service(NAME, replicas=2))
    namespace.wait_ready(NAME)
    assert images_of(namespace) == {old.images["runtime"]}


def test_an_upgrade_restarts_no_replica_loses_no_request_and_says_what_a_restart_would_bring(
    namespace: Namespace, kubectl: Kubectl, old: Version, new: Version
) -> None:
    before = standing(namespace)
    assert {restarts for _, restarts in before.values()} == {0}
    generation = namespace.get("deployment", NAME)["metadata"]["generation"]
    with under_load(namespace, new.images["runtime"], NAME) as story:
        new.install(kubectl)
        (pod,) = operator_pods(kubectl)
        assert pod["spec"]["containers"][0]["image"] == new.images["operator"]
        service = namespace.wait(
            lambda: namespace.service(NAME), lambda item: bool(condition(item, "UpdateAvailable")), 120, status_line
        )
    assert_nobody_noticed(story)
    assert story.fewest_serving() == 2
    assert (standing(namespace), story.gone(), story.came()) == (before, set(), {})
    assert namespace.get("deployment", NAME)["metadata"]["generation"] == generation
    offer = condition(service, "UpdateAvailable")
    assert offer["status"] == "True"
    assert old.images["runtime"] in offer["message"]
    assert new.images["runtime"] in offer["message"]
    assert "Retune" in offer["message"], "a bank is of one image"
    assert condition(service)["status"] == "True"


def test_the_next_edit_that_replaces_pods_takes_the_offer(namespace: Namespace, kubectl: Kubectl, new: Version) -> None:
    namespace.apply(simulated_service(NAME, replicas=2, server={"labels": {"edited": "yes"}}))
    service = namespace.wait_ready(NAME, 180)
    assert images_of(namespace) == {new.images["runtime"]}
    assert condition(service, "UpdateAvailable") == {}
    assert service["status"]["buckets"][0]["entry"] == "Loaded"


def test_an_operator_with_an_older_definition_says_so_while_replicas_serve(
    namespace: Namespace, kubectl: Kubectl, new: Version
) -> None:
    definition = kubectl.get("crd", CRD)
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"][FIELD]
    kubectl.run("replace", "-f", "-", text_in=json.dumps(definition))
    before = standing(namespace)
    with under_load(namespace, new.images["runtime"], NAME) as story:
        system = Namespace(kubectl, SYSTEM_NAMESPACE)
        system.run("delete", "pod", "-l", OPERATOR_POD)
        said = namespace.wait(
            lambda: system.run("logs", "-l", OPERATOR_POD, "--tail=50", check=False),
            lambda log: "is older than this operator" in log,
            90,
        )
        new.install(kubectl)
    assert f"{CRD} is older than this operator and lacks spec.{FIELD}" in said
    assert "apply the crds/ folder of this version" in said
    assert_nobody_noticed(story)
    assert standing(namespace) == before


def test_upgrading_the_definitions_lets_it_start(namespace: Namespace, kubectl: Kubectl) -> None:
    (pod,) = operator_pods(kubectl)
    assert pod["status"]["containerStatuses"][0]["ready"]
    namespace.apply(simulated_service(NAME, replicas=1, server={"labels": {"edited": "yes"}}))
    assert namespace.wait_ready(NAME)["status"]["readyReplicas"] == 1
