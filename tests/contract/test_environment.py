"""What the plan sets is what the runtime reads: names, values, ports and paths of docs/contract.md."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import yaml

from sdxl_operator import naming
from sdxl_operator.api import ProfileSpec, ServiceSpec
from sdxl_operator.api.profile import Backend as ProfileBackend
from sdxl_operator.api.server import Scheduler
from sdxl_operator.api.service import Precision as SpecPrecision
from sdxl_operator.api.service import Rollout
from sdxl_operator.api.weights import HUBS, ModelContent
from sdxl_operator.naming import Object
from sdxl_operator.plan import bank, bank_import, model, pod, replica
from sdxl_operator.plan.bank import Demand
from sdxl_operator.plan.resolved import Resolved
from sdxl_operator.plan.weights import Weights
from sdxl_operator.runtime_client import INTERNAL_PORT
from sdxl_runtime import sources
from sdxl_runtime.__main__ import main
from sdxl_runtime.bank import accepted_entry
from sdxl_runtime.bank.explain import outside
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.oci.names import parse
from sdxl_runtime.protocol import SCHEDULERS
from sdxl_runtime.settings import AdapterFile, Backend, CompileMode, PictureCheck, Precision, Settings
from sdxl_runtime.sources.repository import Repository

CONTRACT = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()
DIGEST = "sha256:" + "ab" * 32
FROM = f"oci://registry.example/bank@{DIGEST}"
BUCKETS = [
    {"width": 128, "height": 128, "batch": 1},
    {"width": 160, "height": 96, "batch": 4},
    {"width": 160, "height": 96, "batch": 4, "promptTokens": 154},
]
FURTHER = {
    "adapters": [
        {"name": "pixel", "source": "demo://pixel", "maximumRank": 16},
        {"name": "ink", "source": "pvc://loras/styles/ink.safetensors"},
    ],
    "refiner": {"source": "demo://shapes-refiner", "variant": "bf16", "startAtPercent": 75},
}


def resolved(**change: Object) -> Resolved:
    spec = ServiceSpec.model_validate(
        {
            "model": {"source": "demo://shapes", "variant": "fp16", **FURTHER},
            "buckets": BUCKETS,
            "precision": "BF16",
            "compile": {"mode": "AheadOfTime", "tuning": {"minimumSpeedupPercent": 111}},
            "rollout": {"drainTimeoutSeconds": 77, "pictureCheck": "Disabled"},
            "server": {
                "queueLimitSeconds": 33,
                "requestTimeoutSeconds": 66,
                "defaults": {"numInferenceSteps": 21, "guidanceScale": "4.5", "scheduler": "UniPC"},
                "recycleAfterRequests": 12345,
                "logPrompts": True,
            },
            "auth": {"apiKeysSecretRef": {"name": "keys"}},
            **change,
        }
    )
    profile = ProfileSpec.model_validate({"backend": "CPU", "image": "runtime:1"})
    return Resolved("space", "studio", spec, profile)


def importing() -> Resolved:
    """A service whose bank comes, signed, from a registry without TLS that asks for credentials."""
    service = resolved(tuneBank={"from": FROM}, server={"imagePullSecrets": [{"name": "registry"}]})
    more = {"bank_registries": ["http://registry.example"], "bank_public_key": "-----BEGIN PUBLIC KEY-----"}
    return replace(service, profile=service.profile.model_copy(update=more))


def owned(kind: str, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": "space", "uid": "u-1"}
    return {
        "apiVersion": naming.API_VERSION,
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
        "status": {"digest": DIGEST},
    }


def serve_container() -> Object:
    return replica.template(resolved(), DIGEST)["spec"]["containers"][0]


def compile_container() -> Object:
    service = resolved()
    own_model = owned("SDXLModel", service.model.name, service.model.spec)
    own_bank = owned("SDXLTuneBank", str(service.bank_name), service.bank or {})
    job = bank.compile_job(own_bank, service.profile, Demand.of([service.spec]), own_model)
    return job["spec"]["template"]["spec"]["containers"][0]


def fetch_container(weights: Weights | None = None) -> Object:
    """The one that fetches the model, or what else is given."""
    wanted = weights or resolved().model
    job = model.fetch_job(owned("SDXLModel", wanted.name, wanted.spec), "runtime:1", "IfNotPresent")
    return job["spec"]["template"]["spec"]["containers"][0]


def import_container() -> Object:
    service = importing()
    own_model = owned("SDXLModel", service.model.name, service.model.spec)
    own_bank = owned("SDXLTuneBank", str(service.bank_name), service.bank or {})
    job = bank_import.import_job(own_bank, service.profile, Demand.of([service.spec]), own_model)
    return job["spec"]["template"]["spec"]["containers"][0]


CONTAINERS = {
    "serve": serve_container,
    "compile": compile_container,
    "fetch": fetch_container,
    "bank import": import_container,
}


def settings_of(container: Object) -> Settings:
    """What the runtime reads; a field of the pod is what a kubelet would put there."""
    pod_fields = {"status.podIP": "10.1.2.3"}
    return Settings.from_environment(
        {
            item["name"]: item.get("value")
            or pod_fields.get(item.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath"), "")
            for item in container["env"]
        }
    )


@pytest.mark.parametrize("command", CONTAINERS)
def test_the_runtime_knows_the_command_and_every_variable_of_the_container(command: str) -> None:
    container = CONTAINERS[command]()
    assert container["args"] == command.split()
    with pytest.raises(SystemExit, match="0"):
        main([*command.split(), "--help"])
    documented = set(re.findall(r"`(SDXL_[A-Z_]+)`", CONTRACT))
    names = [item["name"] for item in container["env"] if item["name"].startswith("SDXL_")]
    assert len(names) == len(set(names))
    assert set(names) <= documented, "every variable that is set is on the contract's page"
    source = "".join(path.read_text() for path in Path(__file__).parents[2].glob("runtime/sdxl_runtime/settings.py"))
    assert [name for name in names if f'"{name}"' not in source] == [], "every variable that is set is read"


def test_every_documented_variable_is_read_by_the_runtime() -> None:
    source = (Path(__file__).parents[2] / "runtime/sdxl_runtime/settings.py").read_text()
    documented = set(re.findall(r"`(SDXL_[A-Z_]+)`", CONTRACT))
    assert {name for name in documented if f'"{name}"' not in source} == set()


def test_a_replica_reads_back_what_the_spec_says() -> None:
    found = settings_of(serve_container())
    assert found.backend is Backend.CPU
    assert found.model_name == "studio"
    assert found.model_path == Path("/models") / resolved().model.name
    assert found.model_digest == DIGEST
    assert found.model_variant == "fp16"
    assert found.buckets == (Bucket(128, 128), Bucket(160, 96, 4), Bucket(160, 96, 4, 154))
    assert found.precision is Precision.BF16
    assert found.compile_mode is CompileMode.AHEAD_OF_TIME
    assert (found.queue_limit_seconds, found.request_timeout_seconds, found.drain_timeout_seconds) == (33, 66, 77)
    assert (found.default_steps, found.default_guidance_scale, found.default_scheduler) == (21, 4.5, "UniPC")
    assert (found.port, found.internal_port) == (pod.PUBLIC_PORT, pod.INTERNAL_PORT)
    assert (found.recycle_after_requests, found.log_prompts) == (12345, True)
    assert found.picture_check is PictureCheck.DISABLED


def test_pictures_are_compared_where_nothing_is_said() -> None:
    container = replica.template(resolved(rollout={}), DIGEST)["spec"]["containers"][0]
    assert settings_of(container).picture_check is PictureCheck.AUTO is Settings().picture_check


def test_the_compile_job_reads_which_entries_are_disputed() -> None:
    service = resolved()
    demand = replace(Demand.of([service.spec]), disputed=("128x128b1", "160x96b4"))
    own_model = owned("SDXLModel", service.model.name, service.model.spec)
    job = bank.compile_job(
        owned("SDXLTuneBank", str(service.bank_name), service.bank or {}), service.profile, demand, own_model
    )
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert settings_of(container).bank_disputed == ("128x128b1", "160x96b4")
    assert settings_of(compile_container()).bank_disputed == ()


def test_a_replica_reads_back_its_adapters_and_its_refiner() -> None:
    found, service = settings_of(serve_container()), resolved()
    assert service.refiner is not None
    pixel = Path("/adapters/pixel") / service.adapters[0].name
    assert found.adapters == (
        AdapterFile("pixel", pixel, 16),
        AdapterFile("ink", Path("/adapters/ink/styles/ink.safetensors"), 64),
    )
    assert found.refiner_path == Path("/refiner") / service.refiner.name
    assert (found.refiner_variant, found.refiner_start_percent) == ("bf16", 75)


def test_a_service_without_adapters_refiner_and_keys_says_nothing_of_them() -> None:
    plain = resolved(model={"source": "demo://shapes"}, auth={})
    container = replica.template(plain, DIGEST)["spec"]["containers"][0]
    names = {item["name"] for item in container["env"]}
    assert not [name for name in names if name.startswith(("SDXL_ADAPTERS", "SDXL_REFINER", "SDXL_API_KEYS"))]
    assert settings_of(container).adapters == ()
    assert settings_of(container).refiner_path is None


def test_a_replica_finds_its_keys_and_says_where_others_reach_it() -> None:
    found = settings_of(serve_container())
    assert found.api_keys_path == Path("/etc/sdxl/keys")
    assert found.signing_key_path == Path("/etc/sdxl/signing/key")
    assert found.advertised_host == "10.1.2.3"


def test_the_compile_job_and_the_replica_see_the_same_model_and_the_same_bank() -> None:
    compiling, serving = settings_of(compile_container()), settings_of(serve_container())
    same = ("backend", "model_path", "model_variant", "model_digest", "precision", "compile_mode", "bank_path")
    assert {name: getattr(compiling, name) for name in same} == {name: getattr(serving, name) for name in same}
    assert compiling.minimum_speedup_percent == 111
    assert set(compiling.buckets) == set(serving.buckets)


def test_an_import_and_the_replica_see_the_same_bank() -> None:
    served = settings_of(replica.template(importing(), DIGEST)["spec"]["containers"][0])
    brought = settings_of(import_container())
    same = (
        "backend",
        "model_variant",
        "model_digest",
        "precision",
        "compile_mode",
        "bank_path",
        "bank_name",
        "bank_spec",
    )
    assert {name: getattr(brought, name) for name in same} == {name: getattr(served, name) for name in same}
    assert set(brought.buckets) == set(served.buckets)
    assert brought.bank_path != settings_of(compile_container()).bank_path
    assert brought.bank_path is not None
    assert brought.bank_path.is_relative_to("/bank")


def test_an_import_is_told_from_where_and_by_whom() -> None:
    found, container = settings_of(import_container()), import_container()
    assert str(parse(found.bank_from)) == FROM
    assert found.bank_public_key == "-----BEGIN PUBLIC KEY-----"
    assert found.registry_plain_http
    assert str(found.registry_config) in {item["mountPath"] for item in container["volumeMounts"]}


def test_what_is_known_outside_is_explained_inside() -> None:
    found = settings_of(serve_container())
    assert found.bank_name == resolved().bank_name
    explained = outside(found.bank_name, found.bank_spec)
    assert explained["model.source"] == "demo://shapes"
    assert explained["compile.minimumSpeedupPercent"] == "111"
    assert naming.bank_name(json.loads(found.bank_spec)) == found.bank_name


def test_fetch_writes_where_the_others_read() -> None:
    assert settings_of(fetch_container()).model_path == settings_of(serve_container()).model_path
    assert settings_of(fetch_container()).model_source == "demo://shapes"
    assert settings_of(fetch_container()).model_content == ModelContent.PIPELINE


HUB = {"source": "hf://team/sdxl", "revision": "c0ffee" * 6 + "c0ff", "tokenSecretRef": {"name": "hub-token"}}


def test_fetch_reads_the_repository_of_a_hub_its_commit_and_where_the_tokens_are() -> None:
    service = resolved(model={**HUB, "variant": "fp16"})
    demand = model.Demand.of(service.model.name, [service.spec])
    mirror = {"HF_ENDPOINT": "https://mirror"}
    own = owned("SDXLModel", service.model.name, service.model.spec)
    container = model.fetch_job(own, "runtime:1", "Always", demand, mirror)["spec"]["template"]["spec"]["containers"][0]
    found = settings_of(container)
    assert Repository.of(found) == Repository(HUB["source"], "team/sdxl", "", HUB["revision"])
    assert found.model_variant == "fp16"
    assert found.model_path == Path("/models") / service.model.name
    mounts = {item["mountPath"]: item for item in container["volumeMounts"]}
    assert mounts[str(found.model_token_path)]["readOnly"]
    assert {"name": "HF_ENDPOINT", "value": "https://mirror"} in container["env"]


def test_the_schemes_of_both_sides_are_the_same() -> None:
    assert tuple(f"{scheme}://" for scheme in sources.HUBS) == HUBS
    message = str(ServiceSpec.model_json_schema())
    assert [scheme for scheme in sources.SOURCES if f"{scheme}://" not in message] == []


def test_no_pod_but_the_fetch_jobs_has_the_token() -> None:
    service = resolved(model={**HUB, "variant": "fp16"})
    own_bank = owned("SDXLTuneBank", str(service.bank_name), service.bank or {})
    own_model = owned("SDXLModel", service.model.name, service.model.spec)
    job = bank.compile_job(own_bank, service.profile, Demand.of([service.spec]), own_model)
    assert "hub-token" not in json.dumps([replica.template(service, DIGEST), job])


def test_a_fetched_adapter_and_refiner_are_where_the_replica_looks_for_them() -> None:
    """The Jobs mount a claim at /models, a replica mounts the same one elsewhere: what is below is the same."""
    served = settings_of(serve_container())
    paths = {"refiner": served.refiner_path, **{f"adapters/{item.name}": item.path for item in served.adapters}}
    for weights in resolved().weights[1:]:
        fetched = settings_of(fetch_container(weights))
        assert fetched.model_content == weights.spec["content"]
        assert fetched.model_path.relative_to("/models") == Path(paths[weights.role]).relative_to(weights.mount)
        assert weights.mount in {item["mountPath"] for item in serve_container()["volumeMounts"]}


def test_paths_are_below_the_mounts() -> None:
    container = serve_container()
    mounts = {item["mountPath"]: item for item in container["volumeMounts"]}
    found = settings_of(container)
    assert found.bank_path is not None
    assert found.bank_accepted is not None
    assert "/models" in mounts
    assert found.bank_path.is_relative_to("/bank")
    assert mounts["/bank"]["readOnly"]
    assert mounts["/models"]["readOnly"]
    assert str(found.bank_accepted.parent) in mounts
    assert mounts["/tmp"].get("readOnly") is not True
    for path in (found.api_keys_path, found.signing_key_path.parent if found.signing_key_path else None):
        assert mounts[str(path)]["readOnly"]


def test_the_operator_asks_the_internal_port() -> None:
    assert INTERNAL_PORT == pod.INTERNAL_PORT == Settings().internal_port
    assert Settings().port == pod.PUBLIC_PORT
    ports = {item["name"]: item["containerPort"] for item in serve_container()["ports"]}
    assert ports == {"http": 8000, "internal": 8001}


def test_enumerations_are_the_same_on_both_sides() -> None:
    assert {item.value for item in ProfileBackend} == {item.value for item in Backend}
    assert {item.value for item in SpecPrecision} == {item.value for item in Precision}
    assert {item.value for item in Scheduler} == set(SCHEDULERS)
    assert set(get_args(Rollout.model_fields["picture_check"].annotation)) == {item.value for item in PictureCheck}
    assert {item.value for item in ModelContent} == {item.value for item in type(Settings().model_content)}


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_bucket_has_one_name(bucket: dict[str, int]) -> None:
    assert naming.bucket_key(bucket) == Bucket.from_json(bucket).key


def test_the_accepted_digests_are_read_by_the_runtime(tmp_path: Path) -> None:
    own_bank = owned("SDXLTuneBank", "bank", {})
    entries = [{"key": "128x128b1", "state": "Kept", "digest": DIGEST}, {"key": "160x96b4", "state": "Dropped"}]
    config_map = bank.accepted(own_bank, "0123456789abcdef", entries)
    path = tmp_path / "accepted.json"
    path.write_text(config_map["data"]["accepted.json"])
    assert json.loads(path.read_text())["digests"] == {"128x128b1": DIGEST}
    (tmp_path / "bank").mkdir()
    accepted = accepted_entry(tmp_path / "bank", path, "0123456789abcdef", Bucket(128, 128))
    assert "128x128b1" in accepted.why, "it was looked for in the bank, so identity and digest were read"
    dropped = accepted_entry(tmp_path / "bank", path, "0123456789abcdef", Bucket(160, 96, 4))
    assert "no kept entry" in dropped.why


def test_the_examples_parse_into_settings_the_runtime_takes() -> None:
    for path in sorted((Path(__file__).parents[2] / "examples").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] != "SDXLService":
                continue
            service = Resolved("space", "studio", ServiceSpec.model_validate(document["spec"]), resolved().profile)
            assert settings_of(replica.template(service, DIGEST)["spec"]["containers"][0]).buckets
