"""`kubectl sdxl` against a real API server: an apply's dry run, a rollback's edit, and who owns what afterwards."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dev.cluster.programs import HYPERKUBE
from sdxl_operator import naming
from sdxl_operator.api.profile import ProfileSpec
from sdxl_operator.api.service import ServiceSpec
from sdxl_operator.cluster.server import KubernetesCluster
from sdxl_operator.kubectl.commands import FIELD_MANAGER
from sdxl_operator.naming import Object, Ref
from sdxl_operator.plan import replica, revision
from sdxl_operator.plan.resolved import Resolved
from tests.apiserver.conftest import ApiServer, a_profile, a_service

DIGEST = "sha256:" + "d" * 64
TWO = [{"width": 128, "height": 128}, {"width": 256, "height": 128}]


class Plugin:
    """`kubectl-sdxl` with the kubectl of the tests in its path."""

    def __init__(self, apiserver: ApiServer, namespace: str, folder: Path) -> None:
        (folder / "bin").mkdir()
        (folder / "bin" / "kubectl").symlink_to(HYPERKUBE.target)
        self.words = ["--namespace", namespace, "--kubeconfig", str(apiserver.kubeconfig)]
        self.environment = {
            "PATH": os.pathsep.join([str(folder / "bin"), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "HOME": str(folder),
        }
        self.folder = folder

    def run(self, *words: str, code: int = 0) -> str:
        line = [sys.executable, "-m", "sdxl_operator.kubectl", *words, *self.words]
        done = subprocess.run(line, env=self.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def plan(self, service: Object, *words: str, code: int = 0) -> str:
        file = self.folder / "edited.json"
        file.write_text(json.dumps(service))
        return self.run("plan", "-f", str(file), *words, code=code)


@pytest.fixture
def plugin(apiserver: ApiServer, namespace: str, tmp_path: Path) -> Plugin:
    return Plugin(apiserver, namespace, tmp_path)


@pytest.fixture
async def profile(cluster: KubernetesCluster, namespace: str) -> AsyncIterator[Object]:
    live = await cluster.apply(a_profile(f"plan-{namespace}", recommendedCompileMode="AheadOfTime"))
    yield live
    await cluster.delete(Ref.of(live))


def of_profile(profile: Object) -> Object:
    return {"profile": profile["metadata"]["name"]}


async def frozen(cluster: KubernetesCluster, ref: Ref, profile: Object, number: int) -> Object:
    """The service as it is now, stored as a revision that once ran."""
    live = await cluster.get(ref)
    assert live is not None
    spec = ServiceSpec.model_validate(live["spec"])
    service = Resolved(ref.namespace, ref.name, spec, ProfileSpec.model_validate(profile["spec"]))
    built = revision.build(live, service, replica.template(service, DIGEST), number)
    built["metadata"]["annotations"] = {revision.COMPLETED_ANNOTATION: "true"}
    return await cluster.apply(built)


async def test_a_plan_is_what_an_apply_would_make_and_nothing_is_made(
    apiserver: ApiServer, cluster: KubernetesCluster, namespace: str, plugin: Plugin, profile: Object
) -> None:
    service = a_service(namespace, accelerator=of_profile(profile), server={"env": [{"name": "A", "value": "1"}]})
    apiserver.apply(service)
    before = apiserver.kubectl("get", "sdxl", "studio", "-n", namespace, "-o", "json")
    edited = a_service(namespace, accelerator=of_profile(profile), buckets=TWO, replicas=3)
    text = plugin.plan(edited)
    assert text.splitlines()[0] == f"{namespace}/studio: Recompile"
    assert "buckets[256x128b1] added" in text
    assert "server.env[A] removed" in text, "what the file leaves out, an apply takes away"
    assert "replicas: 1 → 3" in text
    assert "unknown: no bucket was measured on this accelerator yet" in text
    assert apiserver.kubectl("get", "sdxl", "studio", "-n", namespace, "-o", "json") == before


async def test_a_plan_of_a_server_side_apply_takes_away_what_its_manager_owned(
    apiserver: ApiServer, namespace: str, plugin: Plugin, profile: Object
) -> None:
    service = a_service(namespace, accelerator=of_profile(profile), buckets=TWO)
    text = json.dumps(service)
    apiserver.kubectl("apply", "--server-side", "--field-manager=flux", "-f", "-", text_in=text)
    edited = a_service(namespace, accelerator=of_profile(profile), buckets=TWO[:1])
    said = plugin.plan(edited, "--server-side", "--field-manager=flux")
    assert said.splitlines()[0] == f"{namespace}/studio: Restart"
    assert "buckets[256x128b1] removed" in said


def test_a_plan_that_the_api_server_refuses_says_why(namespace: str, plugin: Plugin) -> None:
    wrong = a_service(namespace, rollout={"drainTimeoutSeconds": 10})
    said = plugin.plan(wrong, code=1)
    assert said.startswith("error: ")
    assert "rollout.drainTimeoutSeconds must be at least server.requestTimeoutSeconds" in said


async def test_a_rollback_is_an_edit_by_its_own_manager(
    apiserver: ApiServer, cluster: KubernetesCluster, namespace: str, plugin: Plugin, profile: Object
) -> None:
    first = a_service(namespace, accelerator=of_profile(profile), server={"labels": {"team": "a"}})
    apiserver.apply(first)
    ref = Ref.of(first)
    await frozen(cluster, ref, profile, 1)
    server = {"env": [{"name": "A", "value": "1"}], "labels": {"other": "b"}}
    apiserver.apply(a_service(namespace, accelerator=of_profile(profile), server=server, replicas=4, buckets=TWO))
    await frozen(cluster, ref, profile, 2)
    said = plugin.run("rollback", "studio")
    assert "rolled back to revision 1 (studio-" in said
    live = await cluster.get(ref)
    assert live is not None
    spec = live["spec"]
    assert [bucket["width"] for bucket in spec["buckets"]] == [128]
    assert (spec["server"].get("env"), spec["server"]["labels"]) == ([], {"team": "a"})
    assert spec["replicas"] == 4
    assert live["metadata"]["generation"] == 3
    managers = {item["manager"]: item for item in live["metadata"]["managedFields"]}
    assert managers[FIELD_MANAGER]["operation"] == "Update"
    assert managers[FIELD_MANAGER]["fieldsV1"]["f:spec"]["f:server"]["f:labels"] == {"f:team": {}}
    assert "rolled back to revision 2" in plugin.run("rollback", "studio")


async def test_the_commands_that_read_answer_without_an_operator(
    apiserver: ApiServer, namespace: str, plugin: Plugin, profile: Object
) -> None:
    apiserver.apply(a_service(namespace, accelerator=of_profile(profile)))
    assert "No operator has looked at it yet." in plugin.run("status", "studio")
    assert "There are no tune banks here." in plugin.run("banks")
    assert "There are no models here." in plugin.run("models")
    assert "has no SDXLService 'absent'; there are: studio" in plugin.run("status", "absent", code=1)


async def test_a_pause_by_kubectl_annotate_is_one(
    apiserver: ApiServer, cluster: KubernetesCluster, namespace: str, plugin: Plugin, profile: Object
) -> None:
    service = a_service(namespace, accelerator=of_profile(profile))
    apiserver.apply(service)
    apiserver.kubectl("annotate", "sdxl", "studio", "-n", namespace, f"{naming.PAUSED_ANNOTATION}=true")
    live = await cluster.get(Ref.of(service))
    assert live is not None
    assert naming.is_paused(live)
    assert "It is paused by sdxl.dev/paused" in plugin.plan({**service, "spec": {**service["spec"], "replicas": 2}})
