"""What is planned, as files that people read; UPDATE_GOLDENS=1 in the environment writes them anew."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sdxl_operator import naming
from sdxl_operator.naming import BANK, MODEL, Object
from sdxl_operator.plan import bank as plan_bank
from sdxl_operator.plan import bank_import as plan_import
from sdxl_operator.plan import claim, deployment, disruption, replica, revision, signing
from sdxl_operator.plan import model as plan_model
from sdxl_operator.plan import service as plan_service
from sdxl_operator.plan.bank import Demand
from sdxl_operator.plan.model import Demand as FetchDemand
from sdxl_operator.plan.resolved import Resolved
from sdxl_operator.plan.weights import Weights
from tests.operator.builders import DIGEST, NAMESPACE, a_service, chart_profile, merged, owner, resolved

GOLDEN = Path(__file__).parent / "golden"

FULL: Object = {
    "model": {"source": "pvc://weights/sdxl/base", "variant": "fp16"},
    "accelerator": {"profile": "ascend-910b", "count": 2},
    "buckets": [{"width": 1024, "height": 1024, "batch": 4}, {"width": 768, "height": 1024}],
    "compile": {"resources": {"limits": {"memory": "64Gi"}}},
    "server": {
        "env": [{"name": "HTTP_PROXY", "value": "http://proxy"}],
        "imagePullSecrets": [{"name": "registry"}],
        "labels": {"team": "pictures"},
        "annotations": {"note": "hello"},
        "priorityClassName": "high",
        "resources": {"requests": {"cpu": 4, "memory": "32Gi"}, "limits": {"memory": "64Gi"}},
    },
    "rollout": {"strategy": "Surge", "maxUnavailable": 2},
    "replicas": 3,
}
ON_HOST = {
    "recommendedCompileMode": "AheadOfTime",
    "schedulerName": "volcano",
    "runtimeClassName": "ascend",
    "tolerations": [{"key": "card"}],
    "podLabels": {"ring-controller.atlas": "ascend-910b"},
    "podAnnotations": {"huawei.com/schedule": "yes"},
    "hostMounts": [
        {"hostPath": "/usr/local/Ascend/driver"},
        {"hostPath": "/dev/davinci_manager", "type": "CharDevice", "readOnly": False},
    ],
    "environment": [
        {"name": "CARDS", "fieldRef": {"fieldPath": "metadata.annotations['huawei.com/Ascend910']"}},
        {"name": "TASK_QUEUE_ENABLE", "value": "2"},
    ],
}


def on_host() -> Object:
    """The Ascend profile for hosts without a device runtime."""
    profile = chart_profile("ascend-910b")
    return {**profile, "spec": merged(profile["spec"], ON_HOST)}


def template(service: Resolved) -> Object:
    return replica.template(service, DIGEST)


def of_bank(service: Resolved) -> Object:
    assert service.bank is not None
    assert service.bank_name is not None
    return owner(BANK, service.bank_name, service.bank)


def compile_job(service: Resolved) -> Object:
    model = owner(MODEL, service.model.name, service.model.spec, {"digest": DIGEST})
    return plan_bank.compile_job(of_bank(service), service.profile, Demand.of([service.spec]), model)


def import_job(service: Resolved) -> Object:
    model = owner(MODEL, service.model.name, service.model.spec, {"digest": DIGEST})
    return plan_import.import_job(of_bank(service), service.profile, Demand.of([service.spec]), model)


def fetch_job(weights: Weights, demand: FetchDemand | None = None, **variables: str) -> Object:
    model = owner(MODEL, weights.name, weights.spec)
    given = demand or FetchDemand(pull_secrets=("registry",))
    return plan_model.fetch_job(model, "example.org/fetch:1", "Always", given, variables)


def of_hub() -> Object:
    """The fetch Job of a service's own token, behind an admin's proxy."""
    service = resolved(OF_HUBS)
    return fetch_job(service.model, FetchDemand.of(service.model.name, [service.spec]), **MIRROR)


def a_revision(service: Resolved) -> Object:
    return revision.build(a_service(), service, template(service), 7)


def accepted(service: Resolved) -> Object:
    entries = [
        {"key": "128x128b1", "state": "Kept", "digest": "sha256:1"},
        {"key": "160x128b1", "state": "Dropped", "why": "slower"},
    ]
    return plan_bank.accepted(of_bank(service), "0123456789abcdef", entries)


def a_claim(service: Resolved) -> Object:
    found = claim.build(of_bank(service), naming.BANK_LABEL, "bank")
    assert found is not None
    return found


FURTHER: Object = {
    "model": {
        "refiner": {"source": "pvc://weights/refiner", "variant": "fp16", "startAtPercent": 75},
        "adapters": [
            {"name": "pixel", "source": "demo://pixel"},
            {"name": "ink", "source": "pvc://weights/loras/ink.safetensors", "maximumRank": 128},
        ],
    },
    "buckets": [{"width": 128, "height": 128}, {"width": 128, "height": 128, "promptTokens": 154}],
    "server": {
        "recycleAfterRequests": 10000,
        "logPrompts": True,
        "topologySpread": [
            {"topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"},
            {"topologyKey": "topology.kubernetes.io/zone", "maxSkew": 2},
        ],
    },
    "auth": {"apiKeysSecretRef": {"name": "studio-keys"}},
}
COMMIT = "c0ffee" * 6 + "c0ff"
OF_HUBS: Object = {
    "model": {
        "source": "hf://stabilityai/stable-diffusion-xl-base-1.0",
        "revision": COMMIT,
        "variant": "fp16",
        "tokenSecretRef": {"name": "hub-token"},
        "adapters": [{"name": "pixel", "source": "modelscope://team/loras/pixel.safetensors", "revision": COMMIT}],
    }
}
MIRROR = {"HF_ENDPOINT": "https://hub.example", "HTTPS_PROXY": "http://proxy.example:3128"}
SMALL = {"replicas": 2}
FROM = "oci://registry.example/team/bank@sha256:" + "ab" * 32
IMPORTING: Object = {"tuneBank": {"from": FROM}}


def signed_and_plain() -> Object:
    """The Ascend profile for hosts, which takes signed banks from a registry without TLS."""
    more = {"bankRegistries": ["http://registry.example"], "bankPublicKey": "-----BEGIN PUBLIC KEY-----\n…"}
    return {**on_host(), "spec": {**on_host()["spec"], **more}}


SIZED = {"tuneBank": {"volume": {"size": "5Gi", "storageClassName": "fast", "accessModes": ["ReadWriteOnce"]}}}

PLANS: dict[str, Callable[[], Object | None]] = {
    "template-cpu": lambda: template(resolved(SMALL, chart_profile("cpu"))),
    "template-simulated": lambda: template(resolved(SMALL, chart_profile("simulated"))),
    "template-ascend-910b": lambda: template(resolved(FULL, chart_profile("ascend-910b"))),
    "template-ascend-910b-on-host": lambda: template(resolved(FULL, on_host())),
    "deployment": lambda: deployment.build(a_service(), resolved(SMALL), a_revision(resolved(SMALL))),
    "revision": lambda: a_revision(resolved(SMALL)),
    "service": lambda: plan_service.build(a_service(), resolved({"expose": {"service": {"port": 8080}}})),
    "disruption": lambda: disruption.build(a_service(), resolved(FULL, on_host())),
    "model": lambda: plan_model.build(NAMESPACE, resolved(FULL, on_host()).model),
    "model-adapter": lambda: plan_model.build(NAMESPACE, resolved(FURTHER).adapters[0]),
    "model-refiner": lambda: plan_model.build(NAMESPACE, resolved(FURTHER).weights[1]),
    "model-of-hub": lambda: plan_model.build(NAMESPACE, resolved(OF_HUBS).model),
    "signing": lambda: signing.build(a_service(), "5ec7e7" * 4),
    "bank": lambda: plan_bank.build(resolved(FULL, on_host())),
    "claim": lambda: a_claim(resolved(SIZED)),
    "claim-of-defaults": lambda: a_claim(resolved()),
    "template-further": lambda: template(resolved(FURTHER)),
    "fetch-job": lambda: fetch_job(resolved().model),
    "fetch-job-in-place": lambda: fetch_job(resolved(FULL, on_host()).model),
    "fetch-job-adapter": lambda: fetch_job(resolved(FURTHER).adapters[0]),
    "fetch-job-of-hub": of_hub,
    "compile-job": lambda: compile_job(resolved()),
    "compile-job-ascend-910b-on-host": lambda: compile_job(resolved(FULL, on_host())),
    "accepted": lambda: accepted(resolved()),
    "bank-imported": lambda: plan_bank.build(resolved(IMPORTING)),
    "import-job": lambda: import_job(resolved(IMPORTING)),
    "import-job-ascend-910b-on-host": lambda: import_job(resolved(merged(FULL, IMPORTING), signed_and_plain())),
    "template-imported": lambda: template(resolved(IMPORTING)),
}


class Plain(yaml.SafeDumper):
    """YAML without anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def text_of(plan: Object | None) -> str:
    return yaml.dump(plan, Dumper=Plain, sort_keys=False, width=120)


@pytest.mark.parametrize("name", PLANS)
def test_the_plan_is_as_in_its_golden_file(name: str) -> None:
    path, text = GOLDEN / f"{name}.yaml", text_of(PLANS[name]())
    if os.environ.get("UPDATE_GOLDENS"):
        path.write_text(text)
    assert path.read_text() == text, f"{path.name} differs: look at it, and write it anew with UPDATE_GOLDENS=1"


def test_no_golden_file_is_stale() -> None:
    assert {path.stem for path in GOLDEN.glob("*")} == set(PLANS)
