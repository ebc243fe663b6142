"""What a user or an admin can get wrong: each ends in a reason in the words of who refused; mending it is enough."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.demo.kubectl import Kubectl
from dev.shell import Failed
from tests.e2e.volumes import claim, resize, small_volume
from tests.e2e.world import Namespace, Object, condition, simulated_service


def refused(namespace: Namespace, service: Object) -> str:
    """What the API server says to an object it does not take."""
    with pytest.raises(Failed) as failure:
        namespace.apply(service)
    return str(failure.value)


@pytest.mark.parametrize(
    ("buckets", "words"),
    [
        ([], "should have at least 1 items"),
        ([{"width": 128, "height": 128}, {"width": 128, "height": 128}], "Duplicate value"),
        ([{"width": 100, "height": 128}], "multiple of 8"),
        ([{"width": 128, "height": "tall"}], "integer"),
    ],
    ids=["none", "twice", "not a multiple of eight", "not a number"],
)
def test_buckets_that_cannot_be_are_refused_at_once(namespace: Namespace, buckets: list[Object], words: str) -> None:
    assert words in refused(namespace, simulated_service("refused", buckets=buckets))


def test_a_drain_shorter_than_a_request_is_refused_with_what_to_do(namespace: Namespace) -> None:
    said = refused(namespace, simulated_service("refused", rollout={"drainTimeoutSeconds": 5}))
    assert "drainTimeoutSeconds must be at least server.requestTimeoutSeconds" in said


def test_a_reserved_variable_is_refused(namespace: Namespace) -> None:
    env = [{"name": "ASCEND_VISIBLE_DEVICES", "value": "0"}]
    assert "remove it from env" in refused(namespace, simulated_service("refused", server={"env": env}))


def test_an_unknown_profile_is_named_with_those_that_exist(namespace: Namespace) -> None:
    namespace.apply(simulated_service("profile", accelerator={"profile": "h900"}))
    said = namespace.wait_reason("ProfileNotFound", "profile")
    assert "'h900'" in said["message"]
    assert "simulated" in said["message"]
    namespace.apply(simulated_service("profile"))
    namespace.wait_ready("profile")


def test_sizes_that_do_not_divide_are_named_with_the_nearest(namespace: Namespace) -> None:
    namespace.apply(simulated_service("sizes", buckets=[{"width": 136, "height": 128}]))
    said = namespace.wait_reason("BucketNotDivisible", "sizes")
    assert "136x128 (nearest: 128x128, 160x128)" in said["message"]
    namespace.apply(simulated_service("sizes", buckets=[{"width": 160, "height": 128}]))
    namespace.wait_ready("sizes")


def test_a_missing_claim_is_named_and_making_it_is_enough(namespace: Namespace) -> None:
    service = simulated_service("claim")
    service["spec"]["model"]["volume"] = {"size": "100Mi"}
    service["spec"]["tuneBank"] = {"volume": {"claimName": "not-there-yet"}}
    namespace.apply(service)
    said = namespace.wait_reason("ClaimNotFound", "claim")
    assert '"not-there-yet" not found' in said["message"]
    namespace.apply(claim("not-there-yet"))
    namespace.wait_ready("claim")


def test_an_access_mode_the_storage_class_refuses_is_told_in_its_own_words(namespace: Namespace) -> None:
    volume = {"size": "100Mi", "storageClassName": "node-local", "accessModes": ["ReadWriteMany"]}
    namespace.apply(simulated_service("access", tuneBank={"volume": volume}))
    said = namespace.wait_reason("VolumeNotProvisioned", "access")
    assert "access mode" in said["message"].lower()
    namespace.apply(simulated_service("access", tuneBank={"volume": {**volume, "accessModes": ["ReadWriteOnce"]}}))
    namespace.wait_ready("access")


def test_a_model_that_is_not_there_is_named_by_its_path(namespace: Namespace) -> None:
    namespace.apply(claim("models"), simulated_service("path", model={"source": "pvc://models/sdxl", "variant": ""}))
    said = namespace.wait_reason("ModelMissing", "path")
    assert "/models/sdxl" in said["message"]
    failure = namespace.service("path")["status"]["lastFailure"]
    assert (failure["component"], failure["exitCode"]) == ("fetch", 1)
    namespace.apply(simulated_service("path"))
    namespace.wait_ready("path")


@pytest.fixture
def broken_profile(kubectl: Kubectl) -> Iterator[str]:
    """A profile whose image does not exist."""
    name = "e2e-broken-image"
    profile = kubectl.get("acceleratorprofile", "simulated")
    spec = {**profile["spec"], "image": "localhost/sdxl-runtime:no-such-tag"}
    changed = {"apiVersion": profile["apiVersion"], "kind": profile["kind"], "metadata": {"name": name}, "spec": spec}
    Namespace(kubectl, "default").apply(changed)
    yield name
    kubectl.run("delete", "acceleratorprofile", name)


def test_an_image_that_cannot_be_pulled_is_told_in_the_kubelets_words(
    namespace: Namespace, kubectl: Kubectl, broken_profile: str
) -> None:
    namespace.apply(simulated_service("image", accelerator={"profile": broken_profile}))
    said = namespace.wait_reason("ImagePullFailed", "image")
    assert "no-such-tag" in said["message"]
    good = kubectl.get("acceleratorprofile", "simulated")["spec"]["image"]
    patch = f'{{"spec":{{"image":"{good}"}}}}'
    kubectl.run("patch", "acceleratorprofile", broken_profile, "--type=merge", "-p", patch)
    namespace.wait_ready("image")


def test_a_compile_job_that_runs_out_of_memory_says_which_limit_to_raise(namespace: Namespace) -> None:
    small = {"limits": {"memory": "12Mi"}, "requests": {"memory": "12Mi"}}
    namespace.apply(simulated_service("memory", compile={"resources": small, "tuning": {"minimumSpeedupPercent": 103}}))
    said = namespace.wait_reason("OutOfMemory", "memory")
    assert "its limit is 12Mi: raise spec.compile.resources.limits.memory" in said["message"]
    assert namespace.service("memory")["status"]["lastFailure"]["component"] == "compile"
    enough = {"limits": {"memory": "512Mi"}, "requests": {"memory": "64Mi"}}
    namespace.apply(
        simulated_service("memory", compile={"resources": enough, "tuning": {"minimumSpeedupPercent": 103}})
    )
    namespace.wait_ready("memory")


@pytest.fixture
def tiny_volume(namespace: Namespace) -> Iterator[Path]:
    """A volume of one page with its claim, called tiny."""
    with small_volume(namespace, "tiny", "4k") as folder:
        yield folder
        namespace.run("delete", "sdxl", "full", "--ignore-not-found", "--timeout=60s")
        namespace.run("delete", "pod", "-l", "app.kubernetes.io/component", "--ignore-not-found", "--timeout=60s")


def test_a_full_bank_volume_is_told_and_space_is_enough(namespace: Namespace, tiny_volume: Path) -> None:
    service = simulated_service("full", tuneBank={"volume": {"claimName": "tiny"}})
    del service["spec"]["tuneBank"]["volume"]["size"]
    service["spec"]["model"]["volume"] = {"size": "100Mi"}
    namespace.apply(service)
    said = namespace.wait_reason("VolumeFull", "full")
    assert "space" in said["message"].lower()
    resize(tiny_volume, "1m")
    namespace.wait_ready("full")


def test_a_name_that_somebody_elses_service_has_is_left_alone(namespace: Namespace) -> None:
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "taken"},
        "spec": {"selector": {"app": "somebody"}, "ports": [{"port": 80}]},
    }
    namespace.apply(foreign)
    namespace.apply(simulated_service("taken"))
    said = namespace.wait_reason("NameTaken", "taken")
    assert "Service named taken" in said["message"]
    assert namespace.get("service", "taken")["spec"]["selector"] == {"app": "somebody"}
    namespace.run("delete", "service", "taken")
    namespace.wait_ready("taken")
    assert condition(namespace.service("taken"), "Stalled") == {}
