"""A bank that was compiled in one namespace, exported, and imported in another: nothing is compiled there."""

import json
import re
from collections.abc import Iterator

import pytest

from dev.cluster.local.cluster import LocalCluster
from dev.cluster.local.layout import REGISTRY_PORT
from dev.cluster.provider import choose
from dev.demo.kubectl import Kubectl
from tests.e2e.world import Namespace, condition, simulated_service

PROFILE = "simulated-importing"
REPOSITORY = "tests/tune-banks"
BUCKETS = [{"width": 128, "height": 128}, {"width": 160, "height": 96}]


@pytest.fixture(scope="module")
def registry() -> str:
    """The cluster's own registry, as pods reach it: host and port; without TLS."""
    cluster = choose()
    if not isinstance(cluster, LocalCluster):
        pytest.skip("only the local cluster has a registry that pods can push to")
    return f"{cluster.layout.node(1).address}:{REGISTRY_PORT}"


@pytest.fixture(scope="module")
def profile(kubectl: Kubectl, registry: str) -> Iterator[str]:
    """The simulated profile, with the registry among those that banks may come from."""
    simulated = kubectl.get("acceleratorprofile", "simulated")
    spec = {**simulated["spec"], "bankRegistries": [f"http://{registry}/tests"]}
    named = {"apiVersion": simulated["apiVersion"], "kind": simulated["kind"], "metadata": {"name": PROFILE}}
    kubectl.run("apply", "-f", "-", text_in=json.dumps({**named, "spec": spec}))
    yield PROFILE
    kubectl.run("delete", "acceleratorprofile", PROFILE, "--ignore-not-found")


@pytest.fixture(scope="module")
def elsewhere(kubectl: Kubectl) -> Iterator[Namespace]:
    """Another namespace."""
    name = "e2e-moving-banks-elsewhere"
    kubectl.run("delete", "namespace", name, "--ignore-not-found", timeout=180)
    kubectl.run("create", "namespace", name)
    yield Namespace(kubectl, name)
    kubectl.run("delete", "namespace", name, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="module")
def artefact(namespace: Namespace, registry: str) -> str:
    """A bank compiled in the first namespace and exported from there, by digest."""
    namespace.apply(simulated_service(buckets=BUCKETS))
    namespace.wait_ready()
    target = f"oci://{registry}/{REPOSITORY}:from-here"
    said = namespace.run("exec", "deployment/studio", "--", "sdxl-runtime", "bank", "export", target, "--plain-http")
    found = re.search(r"sha256:[0-9a-f]{64}", said)
    assert found is not None, said
    return f"oci://{registry}/{REPOSITORY}@{found[0]}"


def test_an_imported_bank_is_served_and_nothing_is_compiled(elsewhere: Namespace, artefact: str, profile: str) -> None:
    elsewhere.apply(simulated_service(accelerator={"profile": profile}, buckets=BUCKETS, tuneBank={"from": artefact}))
    service = elsewhere.wait_ready()
    assert condition(service, "BankReady")["reason"] == "Imported"
    assert [row["entry"] for row in service["status"]["buckets"]] == ["Loaded", "Loaded"]
    components = {job["metadata"]["labels"]["app.kubernetes.io/component"] for job in elsewhere.items("jobs")}
    assert components == {"fetch", "import"}
    (bank,) = elsewhere.items("sdxltunebanks")
    assert bank["status"]["summary"] == "2/2"


def test_a_bucket_that_the_artefact_lacks_is_served_uncompiled_and_status_names_it(
    elsewhere: Namespace, artefact: str, profile: str
) -> None:
    more = [*BUCKETS, {"width": 96, "height": 160}]
    elsewhere.apply(simulated_service(accelerator={"profile": profile}, buckets=more, tuneBank={"from": artefact}))
    told = elsewhere.wait_reason("Missing")
    assert "96x160b1" in told["message"]
    elsewhere.wait(lambda: condition(elsewhere.service(), "Available")["status"], lambda status: status == "True", 60)


def test_a_registry_that_the_profile_does_not_name_is_refused(
    elsewhere: Namespace, artefact: str, profile: str
) -> None:
    foreign = artefact.replace(REPOSITORY, "elsewhere/tune-banks")
    elsewhere.apply(simulated_service("other", accelerator={"profile": profile}, tuneBank={"from": foreign}))
    told = elsewhere.wait_reason("RegistryNotAllowed", "other")
    assert PROFILE in told["message"]
