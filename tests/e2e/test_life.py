"""The whole life of a service on the real cluster, in order: each test goes on from where the one before it stopped."""

import json
import time
from collections.abc import Mapping

import pytest

from dev.demo.kubectl import Kubectl
from sdxl_runtime.demo_model.judge import judge
from sdxl_runtime.demo_model.scenes import Scene
from tests.e2e.world import Namespace, condition, cpu_service, pictures, versions

BUCKETS = [{"width": 128, "height": 128}, {"width": 160, "height": 96}]
SCENES = (
    ("128x128", Scene(shape="circle", colour="red", background="blue", size="large", place="centre")),
    ("160x96", Scene(shape="square", colour="green", background="white", size="large", place="top left")),
)
QUIET_SECONDS = 30


@pytest.fixture(scope="module")
def url(namespace: Namespace) -> str:
    """The Service as a client inside the cluster knows it."""
    return f"http://studio.{namespace.name}.svc/v1/images/generations"


def test_an_applied_service_becomes_ready_with_two_replicas_and_compiled_buckets(namespace: Namespace) -> None:
    namespace.apply(cpu_service(buckets=BUCKETS, replicas=2))
    service = namespace.wait_ready(seconds=900)
    status = service["status"]
    assert (status["readyReplicas"], status["bucketSummary"]) == (2, "2/2")
    assert {row["key"]: row["state"] for row in status["buckets"]} == {"128x128b1": "Ready", "160x96b1": "Ready"}
    assert all(row["backend"] in ("AheadOfTime", "Eager") for row in status["buckets"])
    assert set(status["coldStart"]) >= {"loadSeconds", "warmSeconds", "compileSeconds", "scheduleSeconds"}
    assert status["url"] == f"http://studio.{namespace.name}.svc"


def test_kubectl_wait_sees_the_summary(namespace: Namespace) -> None:
    namespace.run("wait", "--for=condition=Ready", "sdxl/studio", "--timeout=10s")


def test_a_picture_through_the_service_shows_what_the_prompt_says(
    namespace: Namespace, built: Mapping[str, str], url: str
) -> None:
    bodies = [{"prompt": scene.prompt, "size": size, "seed": 11} for size, scene in SCENES]
    answers = namespace.ask(built["runtime"], url, *bodies)
    for answer, (size, scene) in zip(answers, SCENES, strict=True):
        picture = pictures(answer)[0]
        assert f"{picture.width}x{picture.height}" == size
        verdict = judge(picture)
        assert verdict.agrees(scene), f"asked for {scene.prompt}, got {verdict}"


def test_the_same_seed_gives_the_same_picture_from_whichever_replica(
    namespace: Namespace, built: Mapping[str, str], url: str
) -> None:
    body = {"prompt": SCENES[0][1].prompt, "size": "128x128", "seed": 5}
    found = {json.dumps(answer["body"]["data"]) for answer in namespace.ask(built["runtime"], url, *[body] * 4)}
    assert len(found) == 1


def test_wrong_requests_are_refused_by_name_through_the_service(
    namespace: Namespace, built: Mapping[str, str], url: str
) -> None:
    good = {"prompt": "a red circle on a blue background"}
    wrong: dict[str, Mapping[str, object] | str] = {
        "size": {**good, "size": "512x512"},
        "num_inference_steps": {**good, "num_inference_steps": 0},
        "prompt": {"prompt": ""},
        "n": {**good, "n": "many"},
        "no_such_field": {**good, "no_such_field": 1},
    }
    answers = namespace.ask(built["runtime"], url, *wrong.values(), "{broken", {"prompt": "x" * 20_000})
    for name, answer in zip([*wrong, "", "prompt"], answers, strict=True):
        assert answer["status"] in (400, 422), answer
        error = answer["body"]["error"]
        assert error["message"]
        if name:
            assert name in (error["param"] or "") or name in error["message"], error
    assert "128x128" in answers[0]["body"]["error"]["message"]


def test_nothing_moves_once_nothing_changes(namespace: Namespace, kubectl: Kubectl) -> None:
    namespace.run("delete", "pod", "client", "--ignore-not-found")
    time.sleep(5)
    before = versions(kubectl, namespace.name)
    time.sleep(QUIET_SECONDS)
    after = versions(kubectl, namespace.name)
    assert after == before


def test_kubectl_scale_changes_replicas_and_rolls_nobody(namespace: Namespace) -> None:
    before = {pod["metadata"]["name"] for pod in namespace.items("pods", "-l", "sdxl.dev/service=studio")}
    namespace.run("scale", "sdxl/studio", "--replicas=1")
    service = namespace.wait_ready()
    assert service["status"]["readyReplicas"] == 1
    namespace.wait(
        lambda: {pod["metadata"]["name"] for pod in namespace.items("pods", "-l", "sdxl.dev/service=studio")},
        lambda names: len(names) == 1,
        180,
    )
    after = {pod["metadata"]["name"] for pod in namespace.items("pods", "-l", "sdxl.dev/service=studio")}
    assert after < before
    scale = json.loads(namespace.kubectl.run("get", "--raw", _scale_path(namespace)))
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (1, 1)
    assert scale["status"]["selector"] == "sdxl.dev/service=studio"


def test_a_further_bucket_is_compiled_before_a_replica_is_replaced(namespace: Namespace) -> None:
    old = namespace.items("pods", "-l", "sdxl.dev/service=studio")[0]["metadata"]["uid"]
    namespace.apply(cpu_service(buckets=[*BUCKETS, {"width": 96, "height": 160}], replicas=1))
    waiting = namespace.wait_reason("Compiling", seconds=60)
    assert waiting["status"] == "False"
    serving = namespace.items("pods", "-l", "sdxl.dev/service=studio")
    assert [pod["metadata"]["uid"] for pod in serving] == [old], "the old replica serves while the bank compiles"
    assert condition(namespace.service(), "Available")["status"] == "True"
    service = namespace.wait_ready(seconds=900)
    assert service["status"]["bucketSummary"] == "3/3"
    assert namespace.items("pods", "-l", "sdxl.dev/service=studio")[0]["metadata"]["uid"] != old


def test_the_bank_compiled_only_the_new_bucket(namespace: Namespace) -> None:
    banks = namespace.items("sdxltunebanks")
    assert len(banks) == 1
    assert banks[0]["status"]["summary"] == "3/3"
    assert banks[0]["status"]["usedBy"] == ["studio"]


def test_deleting_the_service_leaves_only_what_retention_keeps(namespace: Namespace) -> None:
    namespace.run("delete", "sdxl", "studio", "--timeout=60s")
    gone = "deployments,services,controllerrevisions,poddisruptionbudgets"
    assert namespace.wait(lambda: _names(namespace, gone), lambda names: not names, 180) == []
    replicas = namespace.wait(
        lambda: namespace.items("pods", "-l", "sdxl.dev/service=studio"), lambda pods: not pods, 180
    )
    assert replicas == []
    assert len(namespace.items("sdxlmodels")) == len(namespace.items("sdxltunebanks")) == 1
    bank = namespace.wait(
        lambda: namespace.items("sdxltunebanks")[0], lambda item: item["status"].get("usedBy") == [], 30
    )
    assert len(namespace.items("pvc")) == 2
    assert bank["status"]["retention"] == "Retain"


def test_the_same_service_again_finds_its_bank_and_compiles_nothing(namespace: Namespace) -> None:
    jobs = set(_names(namespace, "jobs"))
    namespace.apply(
        cpu_service(buckets=BUCKETS, replicas=1, tuneBank={"retention": "Delete"}, model={"retention": "Delete"})
    )
    namespace.wait_ready(seconds=300)
    assert set(_names(namespace, "jobs")) <= jobs


def test_with_retention_delete_nothing_is_left(namespace: Namespace) -> None:
    namespace.run("delete", "sdxl", "studio", "--timeout=60s")
    kinds = "sdxlmodels,sdxltunebanks,deployments,jobs,persistentvolumeclaims,pods"
    assert namespace.wait(lambda: _names(namespace, kinds), lambda names: not names, 240) == []


def _names(namespace: Namespace, kinds: str) -> list[str]:
    return [
        f"{item['kind']}/{item['metadata']['name']}"
        for item in namespace.items(kinds)
        if item["metadata"]["name"] not in ("kube-root-ca.crt", "kubernetes", "client")
    ]


def _scale_path(namespace: Namespace) -> str:
    return f"/apis/sdxl.dev/v1alpha1/namespaces/{namespace.name}/sdxlservices/studio/scale"
