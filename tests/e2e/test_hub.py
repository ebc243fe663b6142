"""Models from a hub on the real cluster: good days, and each way in which a hub can fail, until it is good again."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from sdxl_runtime.demo_model.judge import judge
from sdxl_runtime.demo_model.scenes import Scene
from tests.e2e.hubs import Hub, hub_in
from tests.e2e.volumes import on_claim
from tests.e2e.world import Namespace, Object, condition, cpu_service, merged, pictures, simulated_service
from tests.runtime.fakehub import COMMIT, REPOSITORY
from tests.runtime.hub_world import UNET, VAE

pytestmark = pytest.mark.long
"""Each fault is proven beside this without a cluster, in tests/runtime/test_sources_faults.py."""

SCENE = Scene(shape="circle", colour="red", background="blue", size="large", place="centre")
TOKEN = "hf_a-token-of-this-test"
SEARCH = """
import json, os, pathlib, sys
files = [path for root in ("/etc/sdxl", "/tmp") for path in pathlib.Path(root).rglob("*") if path.is_file()]
texts = [*os.environ.values(), *(path.read_text(errors="replace") for path in files)]
print(json.dumps(any(sys.argv[1] in text for text in texts)))
"""
"""Says whether a word is anywhere in a container's environment, in what is mounted there, or in its scratch space."""
SPEED = 600_000
"""Bytes a second, slow enough to be seen."""


@pytest.fixture(scope="module")
def hub(namespace: Namespace, built: Mapping[str, str]) -> Iterator[Hub]:
    """A hub in the cluster, to which every fetch goes."""
    with hub_in(namespace, built) as found:
        yield found


@pytest.fixture(autouse=True)
def gone_after_each(namespace: Namespace) -> Iterator[None]:
    yield
    namespace.run("delete", "sdxl,sdxlmodel", "--all", "--timeout=60s")
    namespace.wait(lambda: namespace.items("pvc,jobs,deployments"), lambda left: not left, 90)


def from_hub(scheme: str = "hf", **model: Any) -> Object:
    """The members of a spec by which its model is the hub's; nothing is compiled."""
    source: Object = {"source": f"{scheme}://{REPOSITORY}", "revision": COMMIT, "volume": {"size": "100Mi"}}
    return {"model": merged(source, model), "compile": {"mode": "Eager"}}


def model_of(namespace: Namespace) -> Object:
    """The SDXLModel of the only service."""
    return next(iter(namespace.items("sdxlmodels")), {})


def replicas(namespace: Namespace) -> list[Object]:
    return namespace.items("pods", "-l", "app.kubernetes.io/component=server")


def wait_for_words(namespace: Namespace, *words: str, seconds: float = 60) -> Object:
    """Wait until the service's ModelReady says all of these; the SDXLModel's status."""
    told = namespace.wait(
        lambda: condition(namespace.service(), "ModelReady"),
        lambda found: all(word in found.get("message", "") for word in words),
        seconds,
    )
    assert (told["status"], told["reason"]) == ("False", "Fetching")
    assert replicas(namespace) == []
    status: Object = model_of(namespace)["status"]
    return status


def test_a_model_comes_from_a_hub_with_bytes_speed_and_remaining_time_and_is_painted_with(
    namespace: Namespace, built: Mapping[str, str], hub: Hub
) -> None:
    hub.rule(forever={path: {"bytes_per_second": SPEED} for path in hub.seen()["sizes"]})
    namespace.apply(cpu_service(buckets=[{"width": 128, "height": 128}], **from_hub()))
    status = namespace.wait(
        lambda: model_of(namespace).get("status") or {}, lambda found: "etaSeconds" in found, 90, str
    )
    assert status["progress"].startswith("Downloading ")
    assert 0 < status["bytesDone"] < status["totalBytes"]
    assert 0 < status["bytesPerSecond"] < 4 * SPEED
    assert status["etaSeconds"] > 0
    namespace.wait_ready(seconds=300)
    status = model_of(namespace)["status"]
    seen = hub.seen()
    assert status["bytes"] == sum(seen["sizes"].values())
    assert seen["served"][UNET] == seen["sizes"][UNET]
    assert "progress" not in status
    (answer,) = namespace.ask(
        built["runtime"],
        f"http://studio.{namespace.name}.svc/v1/images/generations",
        {"prompt": SCENE.prompt, "size": "128x128", "seed": 11},
    )
    assert judge(pictures(answer)[0]).agrees(SCENE)


@pytest.mark.parametrize("scheme", ["hf", "modelscope"])
def test_a_hub_that_cuts_connections_is_gone_on_with_and_no_byte_comes_twice(
    namespace: Namespace, hub: Hub, scheme: str
) -> None:
    hub.rule(faults={UNET: [{"cut_after": 1_500_000}] * 4})
    namespace.apply(simulated_service(**from_hub(scheme)))
    namespace.wait_ready(seconds=120)
    seen = hub.seen()
    assert seen["served"][UNET] == seen["sizes"][UNET]
    assert sum(f"GET /{UNET}" in line for line in seen["asked"] if line.startswith("storage")) == 5
    path = {"hf": f"/api/models/{REPOSITORY}/", "modelscope": f"/api/v1/models/{REPOSITORY}/"}[scheme]
    assert any(path in line for line in seen["asked"])


def test_a_hub_that_asks_to_be_left_alone_is_waited_for_and_status_says_so(namespace: Namespace, hub: Hub) -> None:
    hub.rule(faults={UNET: [{"status": 429, "headers": {"Retry-After": "15"}}]})
    namespace.apply(simulated_service(**from_hub()))
    status = wait_for_words(namespace, "the hub answered 429, which asks to be left alone for 15 s")
    assert UNET in status["waitsFor"]
    namespace.wait_ready(seconds=90)
    status = model_of(namespace)["status"]
    assert "waitsFor" not in status
    assert status.get("failures", 0) == 0


def test_a_hub_that_hangs_is_told_and_what_came_before_is_kept(namespace: Namespace, hub: Hub) -> None:
    hub.rule(faults={UNET: [{"cut_after": 2_000_000}]}, forever={UNET: {"hang_after": 0}})
    namespace.apply(simulated_service(**from_hub()))
    status = wait_for_words(namespace, UNET, "ReadTimeout", seconds=90)
    assert status["bytesDone"] > 0
    hub.rule()
    namespace.wait_ready(seconds=90)
    seen = hub.seen()
    assert seen["served"][UNET] == seen["sizes"][UNET] - 2_000_000


def test_a_hub_that_lies_about_a_checksum_gives_no_model_and_its_correction_is_enough(
    namespace: Namespace, built: Mapping[str, str], hub: Hub
) -> None:
    hub.rule(lies={VAE: {"lfs": {"sha256": "0" * 64}}})
    namespace.apply(simulated_service(**from_hub()))
    told = namespace.wait_reason("ChecksumMismatch")
    assert VAE in told["message"]
    assert "0" * 64 in told["message"]
    model = model_of(namespace)
    failure = model["status"]["lastFailure"]
    assert (failure["reason"], failure["component"], failure["exitCode"]) == ("ChecksumMismatch", "fetch", 1)
    assert replicas(namespace) == []
    claim = model["status"]["claimName"]
    names = "import json, pathlib; print(json.dumps([path.name for path in pathlib.Path('/volume').iterdir()]))"
    assert json.loads(on_claim(namespace, built["operator"], claim, names)) == [f".staging-{model['metadata']['name']}"]
    hub.rule()
    namespace.wait_ready(seconds=120)
    assert json.loads(on_claim(namespace, built["operator"], claim, names)) == [model["metadata"]["name"]]
    assert hub.seen()["served"].get(VAE) == hub.seen()["sizes"][VAE], "what was wrong is loaded anew, and once"


def test_a_gated_model_asks_for_a_token_which_only_the_fetch_container_sees(namespace: Namespace, hub: Hub) -> None:
    hub.rule(tokens=[TOKEN], gated=True)
    namespace.apply(simulated_service(**from_hub()))
    told = namespace.wait_reason("SourceUnauthorized")
    assert "accept its licence" in told["message"]
    assert "tokenSecretRef" in told["message"]
    namespace.run("create", "secret", "generic", "hub-token", f"--from-literal=token={TOKEN}")
    namespace.apply(simulated_service(**from_hub(tokenSecretRef={"name": "hub-token", "key": "token"})))
    namespace.wait_ready(seconds=120)
    assert hub.seen()["leaks"] == []
    holders = {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods_with(namespace, "hub-token")}
    assert holders == {"fetch"}
    kinds = "sdxlservices,sdxlmodels,deployments,jobs,pods,configmaps,controllerrevisions,events"
    assert TOKEN not in namespace.run("get", kinds, "-o", "json")
    assert TOKEN not in namespace.run("logs", "-l", "app.kubernetes.io/component=fetch", "--tail=-1")
    assert json.loads(namespace.run("exec", "deployment/studio", "--", "python3", "-c", SEARCH, TOKEN)) is False


def pods_with(namespace: Namespace, secret: str) -> list[Object]:
    """The pods in whose spec the name of a Secret occurs."""
    labelled = namespace.items("pods", "-l", "app.kubernetes.io/component")
    return [pod for pod in labelled if f'"{secret}"' in json.dumps(pod["spec"])]
