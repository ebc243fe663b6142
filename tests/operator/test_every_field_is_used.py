"""Every field of the four kinds either changes what is rendered or decided, or is rejected: proven leaf by leaf.

Names that are hashes of a spec are blanked out first, for they change with any field and prove nothing.
"""

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

import jsonschema
import pytest

from sdxl_operator import crd, naming
from sdxl_operator.accept import Refusal, accept
from sdxl_operator.api import KINDS, BankSpec
from sdxl_operator.api.profile import ProfileSpec
from sdxl_operator.naming import API_VERSION, BANK, MODEL, PROFILE, SERVICE, Key, Object
from sdxl_operator.plan import bank as plan_bank
from sdxl_operator.plan import claim, deployment, disruption, replica
from sdxl_operator.plan import model as plan_model
from sdxl_operator.plan import service as plan_service
from sdxl_operator.plan.bank import Demand
from sdxl_operator.plan.bank_import import import_job
from sdxl_operator.plan.placement import Candidate, Placed, by_wish, of_job
from sdxl_operator.plan.resolved import Resolved
from sdxl_operator.plan.weights import Weights
from sdxl_operator.status import node_class
from sdxl_operator.status.usage import Usage
from tests.operator.builders import DIGEST, NAMESPACE, NOW, a_profile, a_service, owner
from tests.operator.world import Life

Path = tuple[str, ...]
KIND_SCHEMAS = {
    kind.kind: crd.definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for kind in KINDS
}
VALIDATORS = {kind: jsonschema.Draft202012Validator(schema) for kind, schema in KIND_SCHEMAS.items()}
"""Made once: `jsonschema.validate` would check the schema itself each time."""

SERVICE_SPEC: Object = {
    "model": {
        "source": "demo://shapes",
        "refiner": {"source": "demo://shapes-refiner"},
        "adapters": [{"name": "pixel", "source": "demo://pixel"}],
    },
    "accelerator": {"profile": "card"},
    "buckets": [{"width": 128, "height": 128, "batch": 1}],
    "server": {
        "env": [{"name": "A", "value": "1"}],
        "imagePullSecrets": [{"name": "registry"}],
        "topologySpread": [{"topologyKey": "zone"}],
    },
    "auth": {"apiKeysSecretRef": {"name": "keys"}},
}
PROFILE_SPEC: Object = {
    "backend": "CUDA",
    "image": "example.org/runtime:1",
    "recommendedCompileMode": "AheadOfTime",
    "resource": {"name": "example.org/card", "count": 1},
    "tolerations": [{"key": "card", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}],
    "hostMounts": [{"hostPath": "/dev/card"}],
    "environment": [{"name": "A", "value": "1"}],
    "allowedNamespaces": [NAMESPACE],
    "bankRegistries": ["registry.example"],
}
HUB: Object = {"source": "hf://team/sdxl", "revision": "a" * 40, "tokenSecretRef": {"name": "hub-token"}}
OF_HUB: Object = {"model": HUB}
REFINER_OF_HUB: Object = {"model": {"source": "demo://shapes", "refiner": HUB}}
ADAPTER_OF_HUB: Object = {"model": {"source": "demo://shapes", "adapters": [{"name": "pixel", **HUB}]}}
FROM = "oci://registry.example/bank@sha256:" + "ab" * 32
IMPORTING: Object = {**SERVICE_SPEC, "tuneBank": {"from": FROM}}
MODEL_SPEC: Object = {"source": "demo://shapes"}
BANK_SPEC: Object = {
    "model": {"name": "shapes", "source": "demo://shapes"},
    "profile": "card",
    "image": "example.org/runtime:1",
    "precision": "Auto",
    "acceleratorCount": 1,
    "compile": {"mode": "AheadOfTime", "minimumSpeedupPercent": 102},
}
BASES = {SERVICE: SERVICE_SPEC, PROFILE: PROFILE_SPEC, MODEL: MODEL_SPEC, BANK: BANK_SPEC}

HUB_FIELDS = ("revision", "tokenSecretRef.name", "tokenSecretRef.key")

OTHER: dict[tuple[str, str], Any] = {
    (SERVICE, "model.source"): "pvc://weights/sdxl",
    (SERVICE, "model.refiner.source"): "pvc://weights/refiner",
    (SERVICE, "model.adapters[].source"): "pvc://weights/pixel",
    (SERVICE, "model.revision"): "b" * 40,
    (SERVICE, "model.refiner.revision"): "b" * 40,
    (SERVICE, "model.adapters[].revision"): "b" * 40,
    (MODEL, "revision"): "b" * 40,
    (SERVICE, "accelerator.profile"): "another",
    (SERVICE, "server.defaults.guidanceScale"): "7.5",
    (SERVICE, "tuneBank.from"): FROM,
    (PROFILE, "resource.name"): "example.org/other",
    (PROFILE, "hostMounts[].hostPath"): "/dev/other",
    (PROFILE, "allowedNamespaces[]"): "elsewhere",
    (PROFILE, "bankRegistries[]"): "elsewhere.example",
    (PROFILE, "bankPublicKey"): "-----BEGIN PUBLIC KEY-----",
    (MODEL, "source"): "pvc://weights/sdxl",
    (BANK, "model.source"): "pvc://weights/sdxl",
    (BANK, "profile"): "another",
    (BANK, "from"): FROM,
}
"""Other values where one made from the type would not be a good one."""

BESIDE: dict[tuple[str, str], Object] = {
    **{(SERVICE, f"model.{name}"): OF_HUB for name in HUB_FIELDS},
    **{(SERVICE, f"model.refiner.{name}"): REFINER_OF_HUB for name in HUB_FIELDS},
    **{(SERVICE, f"model.adapters[].{name}"): ADAPTER_OF_HUB for name in HUB_FIELDS},
    (MODEL, "revision"): {"source": "hf://team/sdxl", "revision": "a" * 40},
    (PROFILE, "environment[].fieldRef.fieldPath"): {"environment": [{"name": "A", "fieldRef": {"fieldPath": "x"}}]},
}
"""What the base needs so that a field can be there at all."""

ONLY_ONE_VALUE = {(BANK, "compile.mode"): "an enumeration of one value; any other is rejected by the API server"}
"""Leaves without another valid value, each with the reason."""


def leaves(schema: Object, path: Path = ()) -> Iterator[tuple[Path, Object]]:
    """Every leaf of a structural schema: `[]` is an item of a list, `{}` a value of a map."""
    if "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from leaves(inner, (*path, name))
    elif "items" in schema:
        yield from leaves(schema["items"], (*path, "[]"))
    elif "additionalProperties" in schema:
        yield from leaves(schema["additionalProperties"], (*path, "{}"))
    else:
        yield path, schema


def written(path: Path) -> str:
    return ".".join(path).replace(".[]", "[]").replace(".{}", "{}")


ALL = [(kind, path, schema) for kind, spec in KIND_SCHEMAS.items() for path, schema in leaves(spec)]
PROVABLE = [(kind, path, schema) for kind, path, schema in ALL if (kind, written(path)) not in ONLY_ONE_VALUE]


def another(kind: str, path: Path, schema: Object, now: Any) -> Any:
    """A valid value that differs from `now`."""
    if (kind, written(path)) in OTHER:
        return OTHER[kind, written(path)]
    now = schema.get("default") if now is None else now
    if "enum" in schema:
        return next(value for value in schema["enum"] if value not in (now, "", "AheadOfTime"))
    if schema.get("x-kubernetes-int-or-string"):
        return "3"
    if schema["type"] == "boolean":
        return not now
    if schema["type"] == "integer":
        step = schema.get("multipleOf", 1)
        up = (now or schema.get("minimum", 0)) + step
        return up if up <= schema.get("maximum", up) else up - 2 * step
    return "other"


def get(spec: Any, path: Sequence[str]) -> Any:
    for part in path:
        if part == "[]":
            spec = spec[0] if spec else None
        else:
            spec = spec.get("cpu" if part == "{}" else part) if spec else None
    return spec


def put(spec: Any, path: Sequence[str], value: Any) -> Any:
    """`spec` with the value at the path; the first item of a list, the member `cpu` of a map."""
    if not path:
        return value
    part, *rest = path
    if part == "[]":
        return [put(spec[0] if spec else None, rest, value), *(spec or [])[1:]]
    name = "cpu" if part == "{}" else part
    return {**(spec or {}), name: put((spec or {}).get(name), rest, value)}


def changed(kind: str, path: Path, schema: Object) -> tuple[Object, Object]:
    """The spec that the leaf is changed in, and the spec after."""
    base = {**copy.deepcopy(BASES[kind]), **BESIDE.get((kind, written(path)), {})}
    return base, put(base, path, another(kind, path, schema, get(base, path)))


def of_service(spec: Object, profile: Object) -> Any:
    """Everything that follows from a service and a profile."""
    service = {**a_service(), "spec": spec}
    verdict = accept(service, [a_profile("card", {**profile})])
    if isinstance(verdict, Refusal):
        return ["refused", verdict.finding.reason.value]
    models = [part for item in verdict.weights for part in _of_model(verdict, item)]
    rendered = [*models, *_of_bank(verdict), *_of_replicas(service, verdict), *_of_nodes(verdict.profile)]
    text = json.dumps(rendered, sort_keys=True)
    for item in verdict.weights:
        text = text.replace(item.name, item.role.upper())
    return text.replace(verdict.bank_name, "BANK") if verdict.bank_name else text


def _of_model(service: Resolved, weights: Weights) -> list[Any]:
    model = owner(MODEL, weights.name, weights.spec)
    usage = Usage.of(["studio"], [service.spec.model.retention], {}, NOW)
    demand = plan_model.Demand.of(weights.name, [service.spec])
    fetch = plan_model.fetch_job(model, "image", "Always", demand)["spec"]
    return [fetch, claim.build(model, naming.MODEL_LABEL, "model"), usage.to_status()]


def _of_bank(service: Resolved) -> list[Any]:
    if service.bank is None or service.bank_name is None:
        return ["no bank"]
    bank = owner(BANK, service.bank_name, service.bank)
    model = owner(MODEL, service.model.name, service.model.spec, {"digest": DIGEST})
    usage = Usage.of(["studio"], [service.spec.tune_bank.retention], {}, NOW)
    build = import_job if service.spec.tune_bank.from_ else plan_bank.compile_job
    job = build(bank, service.profile, Demand.of([service.spec]), model)["spec"]
    wish = service.spec.compile
    holders = [Candidate("studio", 1, wish.placement, borrow) for borrow in (wish.borrow, False)]
    placed = [of_job("no card", True, [holder], Placed(), "card").to_status() for holder in holders]
    return [job, claim.build(bank, naming.BANK_LABEL, "bank"), usage.to_status(), by_wish(holders), *placed]


def _of_nodes(profile: ProfileSpec) -> list[Any]:
    labels: Object = {"cpu": "a", "other": "a", **profile.node_selector}
    nodes = [{"metadata": {"name": "n", "labels": {**labels, "other": value}}} for value in ("a", "b")]
    anywhere = profile.model_copy(update={"resource": None})
    return [len(node_class.classes(nodes, anywhere))]


def _of_replicas(service: Object, wanted: Resolved) -> list[Any]:
    uses = {"models": [], "bank": wanted.bank_name}
    revision = {"metadata": {"name": "r"}, "data": {"template": replica.template(wanted, DIGEST), "uses": uses}}
    found = deployment.build(service, wanted, revision)["spec"]
    return [found, plan_service.build(service, wanted)["spec"], disruption.build(service, wanted)["spec"]]


async def of_object(kind: str, spec: Object) -> Any:
    """What one turn for a model or a bank makes: Jobs, claims and the reason in its status."""
    life = Life()
    life.cluster.put(a_profile("card", PROFILE_SPEC))
    life.cluster.put(a_profile("another", {**PROFILE_SPEC, "podLabels": {"a": "b"}, "runtimeClassName": "other"}))
    for name in ("shapes", "other"):
        found = {"apiVersion": API_VERSION, "kind": MODEL, "metadata": {"name": name, "namespace": NAMESPACE}}
        life.cluster.put({**found, "spec": MODEL_SPEC, "status": {"digest": DIGEST}})
    service = a_service({"accelerator": {"profile": "card"}})
    life.cluster.put({**service, "status": {"model": "it", "bank": "it"}})
    metadata = {"name": "it", "namespace": NAMESPACE}
    life.cluster.put({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec})
    await life.turn(Key(kind, NAMESPACE, "it"))
    status = life.cluster.named(kind, "it")["status"]
    children = [obj["spec"] for child in ("Job", "PersistentVolumeClaim") for obj in life.cluster.all(child)]
    assert any("template" in child for child in children), status
    return [children, status["claimName"], [item["reason"] for item in status["conditions"]]]


async def outcome(kind: str, spec: Object) -> Any:
    if kind == SERVICE:
        return of_service(spec, PROFILE_SPEC)
    if kind == PROFILE:
        return [of_service(SERVICE_SPEC, spec), of_service(IMPORTING, spec)]
    return await of_object(kind, spec)


@pytest.mark.parametrize(
    ("kind", "path", "schema"), PROVABLE, ids=[f"{kind}.{written(path)}" for kind, path, _ in PROVABLE]
)
async def test_changing_a_field_changes_what_is_rendered_or_decided(kind: str, path: Path, schema: Object) -> None:
    base, after = changed(kind, path, schema)
    assert after != base, f"{written(path)}: no other value"
    VALIDATORS[kind].validate(after)  # a value that is rejected would prove nothing
    assert await outcome(kind, after) != await outcome(kind, base), f"{kind} {written(path)} changes nothing"


def test_the_table_of_leaves_without_another_value_is_minimal() -> None:
    schemas = {(kind, written(path)): schema for kind, path, schema in ALL}
    for leaf, reason in ONLY_ONE_VALUE.items():
        assert len(schemas[leaf]["enum"]) == 1, leaf
        assert reason
    with pytest.raises(ValueError, match="AheadOfTime"):
        BankSpec.model_validate({**BANK_SPEC, "compile": {"mode": "Eager"}})


def test_the_tables_name_only_fields_that_exist() -> None:
    known = {(kind, written(path)) for kind, path, _ in ALL}
    assert {*OTHER, *BESIDE, *ONLY_ONE_VALUE} <= known


def test_the_walk_finds_every_leaf() -> None:
    found = {(kind, written(path)) for kind, path, _ in ALL}
    assert len(found) == len(ALL) > 80
    assert {(SERVICE, "buckets[].batch"), (SERVICE, "server.labels{}"), (PROFILE, "environment[].value")} <= found


def test_a_field_that_nothing_uses_is_noticed() -> None:
    before = of_service(SERVICE_SPEC, PROFILE_SPEC)
    assert of_service({**SERVICE_SPEC, "unused": 1}, PROFILE_SPEC) == before
