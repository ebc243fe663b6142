"""The CRDs as a real API server reads them: structural, defaults, pruning, CEL messages, subresources, kubectl."""

import json
import re
from typing import Any

import pytest

from sdxl_operator import crd
from sdxl_operator.api import KINDS
from sdxl_operator.naming import Object
from tests.apiserver.conftest import ApiServer, a_profile, a_service

DIGEST = "sha256:" + "ab" * 32
FROM = f"oci://registry.example:5000/team/bank@{DIGEST}"
MODEL = {"source": "demo://shapes"}
PIXEL = {"name": "pixel", "source": "demo://pixel"}
COMMIT = "c0ffee" * 6 + "c0ff"
HUB = {"source": "hf://stabilityai/stable-diffusion-xl-base-1.0", "revision": COMMIT}


def with_adapters(*adapters: Object) -> Object:
    return {"model": {**MODEL, "adapters": list(adapters)}}


def with_refiner(**refiner: Any) -> Object:
    return {"model": {**MODEL, "refiner": {"source": "demo://shapes-refiner", **refiner}}}


def stored(apiserver: ApiServer, namespace: str, name: str = "studio") -> Any:
    return json.loads(apiserver.kubectl("get", "sdxl", name, "-n", namespace, "-o", "json"))


def test_every_crd_is_established_and_structural(apiserver: ApiServer) -> None:
    items = json.loads(apiserver.kubectl("get", "crd", "-o", "json"))["items"]
    assert {item["spec"]["names"]["kind"] for item in items} == {kind.kind for kind in KINDS}
    for item in items:
        conditions = {one["type"]: one["status"] for one in item["status"]["conditions"]}
        assert conditions["Established"] == "True"
        assert conditions["NamesAccepted"] == "True"
        assert "NonStructuralSchema" not in conditions


def test_the_least_service_gets_every_default_from_the_server(apiserver: ApiServer, namespace: str) -> None:
    apiserver.apply(a_service(namespace))
    spec = stored(apiserver, namespace)["spec"]
    assert spec["buckets"] == [{"width": 128, "height": 128, "batch": 1, "promptTokens": 77}]
    assert spec["accelerator"] == {"profile": "cpu", "count": 1}
    assert spec["compile"]["tuning"] == {"minimumSpeedupPercent": 102, "activeDeadlineSeconds": 21600}
    assert spec["server"]["defaults"] == {"numInferenceSteps": 30, "guidanceScale": "5.0", "scheduler": "Euler"}
    assert (spec["server"]["recycleAfterRequests"], spec["server"]["logPrompts"]) == (0, False)
    assert spec["expose"]["service"] == {"type": "ClusterIP", "port": 80}


def test_a_default_that_says_nothing_is_not_stored(apiserver: ApiServer, namespace: str) -> None:
    apiserver.apply(a_service(namespace))
    spec = stored(apiserver, namespace)["spec"]
    assert "variant" not in spec["model"]
    assert "resources" not in spec["server"]
    assert "env" not in spec["server"]
    assert "topologySpread" not in spec["server"]
    assert "refiner" not in spec["model"]
    assert "adapters" not in spec["model"]
    assert "auth" not in spec


def test_adapters_and_a_refiner_get_their_defaults(apiserver: ApiServer, namespace: str) -> None:
    adapters = [{"name": "pixel", "source": "demo://pixel"}, {"name": "ink", "source": "pvc://loras/ink.safetensors"}]
    refiner = {"source": "demo://shapes-refiner"}
    apiserver.apply(a_service(namespace, model={**MODEL, "adapters": adapters, "refiner": refiner}))
    found = stored(apiserver, namespace)["spec"]["model"]
    assert found["adapters"] == [{**adapter, "maximumRank": 64} for adapter in adapters]
    assert found["refiner"] == {**refiner, "startAtPercent": 80}


def test_each_set_of_files_may_be_of_a_hub_with_a_token_of_its_own(apiserver: ApiServer, namespace: str) -> None:
    pixel = {"name": "pixel", "source": "hf://nerijs/pixel-art-xl/Pixel Art XL.safetensors", "revision": COMMIT}
    refiner = {"source": "modelscope://team/refiner_1.0/sub/folder", "revision": COMMIT}
    token = {"tokenSecretRef": {"name": "hub-token"}}
    model = {**HUB, **token, "adapters": [{**pixel, **token}], "refiner": {**refiner, **token}}
    apiserver.apply(a_service(namespace, model=model))
    found = stored(apiserver, namespace)["spec"]["model"]
    assert [found["revision"], found["refiner"]["revision"], found["adapters"][0]["revision"]] == [COMMIT] * 3
    assert found["tokenSecretRef"] == {"name": "hub-token", "key": "token"}


def test_one_shape_may_be_there_once_for_each_length_of_prompts(apiserver: ApiServer, namespace: str) -> None:
    buckets = [{"width": 128, "height": 128, "promptTokens": tokens} for tokens in (77, 154, 231)]
    apiserver.apply(a_service(namespace, buckets=buckets))
    assert stored(apiserver, namespace)["spec"]["buckets"] == [{**bucket, "batch": 1} for bucket in buckets]


def test_a_model_of_the_version_before_is_a_pipeline_and_can_still_be_applied(
    apiserver: ApiServer, namespace: str
) -> None:
    metadata = {"name": "demo-shapes", "namespace": namespace}
    model = {"apiVersion": "sdxl.dev/v1alpha1", "kind": "SDXLModel", "metadata": metadata, "spec": MODEL}
    apiserver.apply(model)
    apiserver.apply(model)
    found = json.loads(apiserver.kubectl("get", "sdxlmodel", "demo-shapes", "-n", namespace, "-o", "json"))
    assert found["spec"]["content"] == "Pipeline"
    other = {**model, "spec": {**MODEL, "content": "Adapter"}}
    assert "make another instead of editing it" in apiserver.apply(other, check=False)


def test_an_unknown_field_is_refused_by_strict_clients_and_pruned_for_others(
    apiserver: ApiServer, namespace: str
) -> None:
    service = a_service(namespace, bukets=[])
    assert 'unknown field "spec.bukets"' in apiserver.apply(service, check=False)
    apiserver.kubectl("apply", "--validate=false", "-f", "-", text_in=json.dumps(service))
    assert "bukets" not in stored(apiserver, namespace)["spec"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"buckets": []}, "spec.buckets in body should have at least 1 items"),
        ({"buckets": [{"width": 128, "height": 128}, {"width": 128, "height": 128, "batch": 1}]}, "Duplicate value"),
        ({"buckets": [{"width": 130, "height": 128}]}, "should be a multiple of 8"),
        (
            {"model": {"source": "s3://bucket/model"}},
            "source is demo://shapes, hf://<owner>/<repository>, modelscope://",
        ),
        ({"model": {"source": "pvc://claim/../other"}}, "must not contain '..'"),
        ({"model": {"source": "hf://stabilityai", "revision": COMMIT}}, "source is demo://shapes, hf://"),
        ({"model": {"source": "hf://team/sdxl/../x", "revision": COMMIT}}, "must not contain '..'"),
        ({"model": {"source": "hf://team/sdxl"}}, "revision is required with hf:// and modelscope://"),
        ({"model": {"source": "modelscope://team/sdxl", "revision": ""}}, "revision is required with hf://"),
        ({"model": {"source": "hf://team/sdxl", "revision": "main"}}, "revision is a commit, 40 hex digits"),
        ({"model": {**MODEL, "revision": COMMIT}}, "the files of demo:// and pvc:// have none: leave it out"),
        ({"model": {**MODEL, "tokenSecretRef": {"name": "hub"}}}, "tokenSecretRef is for hf:// and modelscope://"),
        ({"model": {**HUB, "tokenSecretRef": {"name": "hub", "key": "a b"}}}, "spec.model.tokenSecretRef.key"),
        (with_adapters({**PIXEL, "source": "hf://team/pixel"}), "revision is required with hf://"),
        (with_adapters({**PIXEL, "revision": COMMIT}), "have none: leave it out"),
        (with_refiner(source="modelscope://team/refiner"), "revision is required with hf://"),
        (with_refiner(tokenSecretRef={"name": "hub"}), "tokenSecretRef is for hf:// and modelscope://"),
        ({"server": {"env": [{"name": "LD_PRELOAD", "value": "x"}]}}, "remove it from env"),
        ({"server": {"env": [{"name": "ASCEND_RT_VISIBLE_DEVICES"}]}}, "remove it from env"),
        ({"server": {"resources": {"limits": {"nvidia.com/gpu": 1}}}}, "accelerators come from spec.accelerator"),
        ({"server": {"defaults": {"guidanceScale": "31"}}}, "spec.server.defaults.guidanceScale"),
        ({"rollout": {"drainTimeoutSeconds": 10}}, "must be at least server.requestTimeoutSeconds"),
        ({"tuneBank": {"volume": {"claimName": "bank", "size": "1Gi"}}}, "claimName names an existing claim"),
        ({"precision": "FP64"}, "supported values"),
        ({"replicas": -1}, "should be greater than or equal to 0"),
        (with_adapters(PIXEL, {**PIXEL, "source": "pvc://loras"}), "Duplicate value"),
        (with_adapters({**PIXEL, "name": "Pixel Art"}), "spec.model.adapters[0].name"),
        (with_adapters({**PIXEL, "source": "demo://shapes"}), "source is demo://pixel, hf://"),
        (with_adapters({**PIXEL, "source": "pvc://loras/../x"}), "must not contain '..'"),
        (with_adapters({**PIXEL, "maximumRank": 513}), "should be less than or equal to 512"),
        (with_refiner(source="demo://shapes"), "source is demo://shapes-refiner, hf://"),
        (with_refiner(startAtPercent=49), "should be greater than or equal to 50"),
        (with_refiner(startAtPercent=100), "should be less than or equal to 99"),
        ({"buckets": [{"width": 128, "height": 128, "promptTokens": 100}]}, 'supported values: "77", "154", "231"'),
        ({"server": {"env": [{"name": "SDXL_LOG_PROMPTS", "value": "true"}]}}, "remove it from env"),
        ({"server": {"recycleAfterRequests": -1}}, "should be greater than or equal to 0"),
        ({"server": {"topologySpread": [{"topologyKey": "zone"}, {"topologyKey": "zone"}]}}, "Duplicate value"),
        ({"server": {"topologySpread": [{"topologyKey": "zone", "maxSkew": 0}]}}, "greater than or equal to 1"),
        ({"auth": {"apiKeysSecretRef": {}}}, "spec.auth.apiKeysSecretRef.name"),
        ({"tuneBank": {"from": "oci://registry.example/bank:v1"}}, "from names an artefact by its digest"),
        ({"tuneBank": {"from": f"oci://h/a/../b@{DIGEST}"}}, "from names an artefact by its digest"),
        ({"tuneBank": {"from": f"https://h/b@{DIGEST}"}}, "from names an artefact by its digest"),
        ({"tuneBank": {"from": FROM, "bankRef": {"name": "b"}}}, "leave out volume and from, or bankRef"),
        ({"tuneBank": {"volume": {"size": "1Gi"}, "bankRef": {"name": "b"}}}, "leave out volume and from, or bankRef"),
        ({"tuneBank": {"from": FROM}, "compile": {"mode": "Eager"}}, "compile.mode Eager uses no bank"),
        ({"tuneBank": {"bankRef": {"name": "b"}}, "compile": {"mode": "Eager"}}, "compile.mode Eager uses no bank"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_spec_that_cannot_be_is_refused_with_what_to_do(
    apiserver: ApiServer, namespace: str, spec: Object, message: str
) -> None:
    assert message in apiserver.apply(a_service(namespace, **spec), check=False)


@pytest.mark.parametrize("name", ["a" * 64, "dotted.name", "1st"])
def test_a_name_that_no_service_can_have_is_refused_at_once(apiserver: ApiServer, namespace: str, name: str) -> None:
    service = a_service(namespace)
    service["metadata"]["name"] = name
    assert "a service's name becomes the name of a Service" in apiserver.apply(service, check=False)


def test_a_profile_variable_with_two_sources_is_refused(apiserver: ApiServer) -> None:
    environment = [{"name": "CARDS", "value": "0", "fieldRef": {"fieldPath": "metadata.name"}}]
    answer = apiserver.apply(a_profile("two-sources", environment=environment), check=False)
    assert "give exactly one of value and fieldRef" in answer


def test_a_profile_may_set_what_the_simulated_device_does_and_nothing_else_of_the_operators(
    apiserver: ApiServer,
) -> None:
    differs = {"name": "SDXL_SIMULATED_PICTURE_DIFFERS", "value": "All"}
    apiserver.apply(a_profile("simulates", environment=[differs]))
    answer = apiserver.apply(a_profile("simulates", environment=[{"name": "SDXL_PORT", "value": "1"}]), check=False)
    assert "SDXL_ variables belong to the operator" in answer


@pytest.mark.parametrize("source", [FROM, f"oci://h/b:v1@{DIGEST}", f"oci://h.example/a/b-c_d.e@{DIGEST}"])
def test_a_bank_may_come_from_an_artefact_by_its_digest(apiserver: ApiServer, namespace: str, source: str) -> None:
    apiserver.apply(a_service(namespace, tuneBank={"from": source}))
    assert stored(apiserver, namespace)["spec"]["tuneBank"] == {"from": source, "retention": "Retain"}


def test_a_bank_may_be_named(apiserver: ApiServer, namespace: str) -> None:
    apiserver.apply(a_service(namespace, tuneBank={"bankRef": {"name": "shared"}}))
    assert stored(apiserver, namespace)["spec"]["tuneBank"]["bankRef"] == {"name": "shared"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"bankRegistries": ["https://registry.example"]}, "spec.bankRegistries[0]"),
        ({"bankRegistries": ["registry.example/Team"]}, "spec.bankRegistries[0]"),
        ({"bankRegistries": ["registry.example/"]}, "spec.bankRegistries[0]"),
        ({"bankPublicKey": "a key"}, "bankPublicKey is in PEM"),
    ],
)
def test_a_profile_that_says_nothing_useful_of_banks_is_refused(
    apiserver: ApiServer, spec: Object, message: str
) -> None:
    assert message in apiserver.apply(a_profile("banks", **spec), check=False)


def test_quantities_may_be_numbers_or_strings(apiserver: ApiServer, namespace: str) -> None:
    resources = {"requests": {"cpu": 1, "memory": "512Mi"}}
    apiserver.apply(a_service(namespace, server={"resources": resources}))
    assert stored(apiserver, namespace)["spec"]["server"]["resources"] == resources


def test_kubectl_scale_writes_the_replicas(apiserver: ApiServer, namespace: str) -> None:
    apiserver.apply(a_service(namespace))
    apiserver.kubectl("scale", "sdxl/studio", "-n", namespace, "--replicas=3")
    assert stored(apiserver, namespace)["spec"]["replicas"] == 3


def test_the_scale_subresource_reports_replicas_and_selector_from_the_status(
    apiserver: ApiServer, namespace: str
) -> None:
    apiserver.apply(a_service(namespace))
    status = json.dumps({"status": {"replicas": 2, "selector": "sdxl.dev/service=studio"}})
    apiserver.kubectl("patch", "sdxl", "studio", "-n", namespace, "--subresource=status", "--type=merge", "-p", status)
    path = f"/apis/sdxl.dev/v1alpha1/namespaces/{namespace}/sdxlservices/studio/scale"
    scale = json.loads(apiserver.kubectl("get", "--raw", path))
    assert scale["status"] == {"replicas": 2, "selector": "sdxl.dev/service=studio"}


def test_the_status_is_written_by_its_subresource_only(apiserver: ApiServer, namespace: str) -> None:
    apiserver.apply({**a_service(namespace), "status": {"url": "http://not-by-a-user"}})
    assert "status" not in stored(apiserver, namespace)


def test_explain_tells_what_a_bucket_is(apiserver: ApiServer) -> None:
    text = " ".join(apiserver.kubectl("explain", "sdxlservice.spec.buckets").split())
    assert "The shapes that are compiled, warmed up and served." in text
    assert "Width of the picture in pixels" in text


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_explain_describes_every_field(apiserver: ApiServer, kind: Any) -> None:
    text = apiserver.kubectl("explain", f"{kind.plural}.spec", "--recursive=false")
    assert "<no description>" not in text


def test_get_shows_the_columns_that_explain(apiserver: ApiServer, namespace: str) -> None:
    apiserver.apply(a_service(namespace))
    header = apiserver.kubectl("get", "sdxl", "-n", namespace).splitlines()[0]
    assert re.split(r"\s{2,}|\s", header.strip()) == ["NAME", "READY", "REASON", "REPLICAS", "BUCKETS", "URL", "AGE"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_what_the_server_stored_lacks_nothing_of_what_the_operator_knows(apiserver: ApiServer, kind: Any) -> None:
    live = json.loads(apiserver.kubectl("get", "crd", crd.name_of(kind), "-o", "json"))
    live["metadata"]["annotations"] = {}  # without the hash, field by field
    assert crd.missing_fields(live, crd.definition(kind)) == []
