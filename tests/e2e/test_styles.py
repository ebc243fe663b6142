"""examples/adapters.yaml on the real cluster: a LoRA, a refiner and API keys, from their sources to the pictures."""

import base64
from collections.abc import Iterator
from io import BytesIO

import httpx
import pytest
import yaml
from PIL import Image

from sdxl_runtime.demo_model.judge import judge
from sdxl_runtime.demo_model.scenes import Scene
from sdxl_runtime.demo_model.style import hole_share
from tests.e2e.world import ROOT, Namespace

SCENE = Scene(shape="circle", colour="red", background="blue", size="large", place="centre")
KEY = "a-key-of-this-test"


@pytest.fixture(scope="module")
def http(namespace: Namespace) -> Iterator[httpx.Client]:
    """A client with a key, once the service is ready."""
    namespace.wait_ready("styles", seconds=600)
    with (
        namespace.kubectl.port_forward(namespace.name, "service/styles", 80) as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=180) as client,
    ):
        yield client


def paint(http: httpx.Client, **members: object) -> tuple[Image.Image, dict[str, object]]:
    answer = http.post("/v1/images/generations", json={"prompt": SCENE.prompt, "seed": 7, **members})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return Image.open(BytesIO(base64.b64decode(body["data"][0]["b64_json"]))).convert("RGB"), body["sdxl"]


def test_a_secret_that_is_missing_is_told_in_the_kubelets_words(namespace: Namespace) -> None:
    namespace.apply(*yaml.safe_load_all((ROOT / "examples" / "adapters.yaml").read_text()))
    told = namespace.wait_reason("SecretNotFound", "styles", seconds=600)
    assert "studio-api-keys" in told["message"]


def test_the_secret_that_comes_later_is_enough(namespace: Namespace) -> None:
    namespace.run("create", "secret", "generic", "studio-api-keys", f"--from-literal=everybody={KEY}")
    status = namespace.wait_ready("styles", seconds=600)["status"]
    assert status["readyReplicas"] == 1
    models = {item["spec"]["source"]: item["status"]["digest"] for item in namespace.items("sdxlmodels")}
    assert set(models) == {"demo://shapes", "demo://pixel", "demo://shapes-refiner"}


def test_without_a_key_nothing_is_painted(http: httpx.Client) -> None:
    url = http.base_url.join("/v1/images/generations")
    for headers in ({}, {"Authorization": "Bearer another"}):
        assert httpx.post(url, json={"prompt": "x"}, headers=headers, timeout=60).status_code == 401


def test_the_adapter_and_the_refiner_change_the_picture_of_a_compiled_bucket(http: httpx.Client) -> None:
    plain, details = paint(http, refiner=False)
    assert details["backend"] in ("AheadOfTime", "Eager")
    assert judge(plain).agrees(SCENE)
    refined, details = paint(http)
    assert details["refiner"] is True
    assert refined != plain
    hollow, details = paint(http, refiner=False, adapters=[{"name": "pixel"}])
    assert details["adapters"] == [{"name": "pixel", "scale": 1.0}]
    assert hole_share(plain) < 0.04 < hole_share(hollow)
    assert paint(http, refiner=False)[0] == plain, "and taken out again it leaves nothing behind"


def test_a_job_is_found_again_by_its_url(http: httpx.Client, namespace: Namespace) -> None:
    body = {"prompt": SCENE.prompt, "seed": 7, "refiner": False}
    accepted = http.post("/v1/images/generations", json=body, headers={"Prefer": "respond-async"})
    assert accepted.status_code == 202
    job = namespace.wait(
        lambda: http.get(accepted.headers["Location"]).json(), lambda it: it["status"] == "completed", 60
    )
    assert job["result"]["data"][0]["seed"] == 7
