"""What an edit costs, held against the plans: every field, parts that come and go, and many at once."""

import copy
import json
import random
from typing import Any

import pytest

from sdxl_operator import impact
from sdxl_operator.api import ProfileSpec, ServiceSpec
from sdxl_operator.impact import IMPACTS, PROFILE_FIELDS, SERVICE_FIELDS, Cost, Impact, classify, cost_of
from sdxl_operator.impact.kinds import worst
from sdxl_operator.naming import PROFILE, SERVICE, Object
from sdxl_operator.plan import deployment, disruption, replica, revision
from sdxl_operator.plan import service as plan_service
from sdxl_operator.plan.resolved import Resolved
from tests.operator.builders import DIGEST, NAMESPACE, a_service, merged
from tests.operator.test_every_field_is_used import (
    BESIDE,
    KIND_SCHEMAS,
    PROFILE_SPEC,
    SERVICE_SPEC,
    VALIDATORS,
    Path,
    another,
    get,
    leaves,
    put,
    written,
)

PIXEL: Object = {"name": "pixel", "source": "demo://pixel"}
SIZE: Object = {"size": "30Gi", "storageClassName": "slow", "accessModes": ["ReadWriteMany"]}
IN_PLACE: Object = {
    "source": "pvc://weights/base",
    "refiner": {"source": "pvc://weights/refine"},
    "adapters": [{"name": "pixel", "source": "pvc://weights/ink"}],
}
BASES: dict[str, Object] = {
    "compiled": SERVICE_SPEC,
    "eager": merged(SERVICE_SPEC, {"compile": {"mode": "Eager"}}),
    "files in place": merged(SERVICE_SPEC, {"model": IN_PLACE}),
    "files in place, eager": merged(SERVICE_SPEC, {"model": IN_PLACE, "compile": {"mode": "Eager"}}),
    "a volume for the models": merged(SERVICE_SPEC, {"model": {"volume": SIZE}}),
    "a volume for both": merged(SERVICE_SPEC, {"tuneBank": {"volume": SIZE}}),
    "a volume for both, eager": merged(SERVICE_SPEC, {"tuneBank": {"volume": SIZE}, "compile": {"mode": "Eager"}}),
}
"""Services of which the same edit costs differently."""

SERVICE_LEAVES = list(leaves(KIND_SCHEMAS[SERVICE]))
PROFILE_LEAVES = list(leaves(KIND_SCHEMAS[PROFILE]))


def a_resolved(spec: Object, profile: Object = PROFILE_SPEC) -> Resolved:
    return Resolved(NAMESPACE, "studio", ServiceSpec.model_validate(spec), ProfileSpec.model_validate(profile))


def rendered(service: Resolved) -> tuple[Object, Object]:
    """The pods' template with the revision's label, and all else that is made for a service by itself."""
    owner = a_service()
    frozen = revision.build(owner, service, replica.template(service, DIGEST), 1)
    made = deployment.build(owner, service, frozen)["spec"]
    rest = [plan_service.build(owner, service)["spec"], disruption.build(owner, service)["spec"]]
    return made.pop("template"), {"deployment": made, "rest": rest}


def seen(before: Resolved, after: Resolved) -> Impact:
    """What the plans make of an edit."""
    (old_pods, old_rest), (new_pods, new_rest) = rendered(before), rendered(after)
    if old_pods == new_pods:
        return Impact.NOTHING if old_rest == new_rest else Impact.LIVE
    if {item.name for item in after.weights} - {item.name for item in before.weights}:
        return Impact.REFETCH
    if after.bank_name is None:
        return Impact.RESTART
    if after.bank_name != before.bank_name:
        return Impact.RETUNE
    return Impact.RECOMPILE if set(after.bucket_keys) - set(before.bucket_keys) else Impact.RESTART


def edited(base: Object, path: Path, schema: Object) -> Object:
    """The spec with another value at this leaf."""
    value = another(SERVICE, path, schema, get(base, path))
    if value == get(base, path):  # a base that has the other value already
        value = {"model.source": "pvc://weights/other"}.get(written(path), f"{value}-other")
    found = dict(put(copy.deepcopy(base), path, value))
    if path[-2:] == ("tokenSecretRef", "key"):  # a reference without a name is none
        found = dict(put(found, (*path[:-1], "name"), "token"))
    return found


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("path", "schema"), SERVICE_LEAVES, ids=[written(path) for path, _ in SERVICE_LEAVES])
def test_a_field_costs_what_the_plans_make_of_it_in_both_directions(base: str, path: Path, schema: Object) -> None:
    before, after = BASES[base], edited(BASES[base], path, schema)
    VALIDATORS[SERVICE].validate(after)
    old, new = a_resolved(before), a_resolved(after)
    assert classify(old, new).changes, f"{written(path)} is not noticed"
    assert classify(old, new).impact is seen(old, new), f"{written(path)} there"
    assert classify(new, old).impact is seen(new, old), f"{written(path)} and back"
    if classify(old, new).replaces_pods:
        assert old.content != new.content, f"{written(path)}: the revision that ran stays, and with it its pods"


@pytest.mark.parametrize(
    ("costs", "found"),
    [(SERVICE_FIELDS, SERVICE_LEAVES), (PROFILE_FIELDS, PROFILE_LEAVES)],
    ids=["SDXLService", "AcceleratorProfile"],
)
def test_every_field_has_a_class_and_every_class_a_field(costs: dict[str, Cost], found: list[Any]) -> None:
    fields = {written(path).removesuffix("{}") for path, _ in found}
    assert fields - costs.keys() == set(), "fields without a class: add a row to sdxl_operator/impact/fields.py"
    parts = {field[:end] for field in fields for end in range(len(field)) if field[end] in ".["}
    items = {f"{part}[]" for part in parts}
    assert costs.keys() - fields - parts - items == set(), "rows without a field"


def test_a_field_without_a_class_is_an_error_and_not_a_guess() -> None:
    with pytest.raises(KeyError):
        cost_of("novelty", SERVICE_FIELDS)
    with pytest.raises(KeyError):
        cost_of("novelty.value", SERVICE_FIELDS)


def test_a_map_s_value_costs_what_the_map_does_and_a_whole_part_the_worst_in_it() -> None:
    assert cost_of("server.labels.example.org/team", SERVICE_FIELDS) == SERVICE_FIELDS["server.labels"]
    assert cost_of("model", SERVICE_FIELDS).impacts[0] is Impact.REFETCH
    assert cost_of("rollout", SERVICE_FIELDS).impacts[0] is Impact.RESTART


SMALL, LARGE = {"width": 128, "height": 128}, {"width": 256, "height": 128}
LONG = {**SMALL, "promptTokens": 154}
OWN = {"volume": {"claimName": "own"}}

EDITS: list[tuple[str, Object, Object, str]] = [
    ("a bucket more", {}, {"buckets": [SMALL, LARGE]}, "Recompile"),
    ("a bucket more, in front", {}, {"buckets": [LARGE, SMALL]}, "Recompile"),
    ("a bucket less", {"buckets": [SMALL, LARGE]}, {"buckets": [LARGE]}, "Restart"),
    ("the buckets' order", {"buckets": [SMALL, LARGE]}, {"buckets": [LARGE, SMALL]}, "Restart"),
    ("a bucket of another size", {}, {"buckets": [LARGE]}, "Recompile"),
    ("a bucket for longer prompts", {}, {"buckets": [SMALL, LONG]}, "Recompile"),
    ("a default that is written out", {}, {"buckets": [{**SMALL, "batch": 1}]}, "Nothing"),
    ("a bucket more, eager", {"compile": {"mode": "Eager"}}, {"buckets": [SMALL, LARGE]}, "Restart"),
    ("an adapter more", {}, {"model": {"adapters": [PIXEL]}}, "Refetch"),
    ("an adapter less", {"model": {"adapters": [PIXEL]}}, {"model": {"adapters": []}}, "Restart"),
    ("an adapter by another name", *({"model": {"adapters": [{**PIXEL, "name": name}]}} for name in "ab"), "Restart"),
    (
        "an adapter's file under a second name",
        {"model": {"adapters": [PIXEL]}},
        {"model": {"adapters": [PIXEL, {**PIXEL, "name": "same"}]}},
        "Restart",
    ),
    ("a refiner", {}, {"model": {"refiner": {"source": "demo://shapes-refiner"}}}, "Refetch"),
    (
        "no refiner any more",
        {"model": {"refiner": {"source": "demo://shapes-refiner"}}},
        {"model": {"refiner": None}},
        "Restart",
    ),
    ("another volume for models", {}, {"model": OWN}, "Refetch"),
    ("the same volume, said of the models too", {"tuneBank": OWN}, {"model": OWN}, "Restart"),
    ("another volume for files in place", {"model": {"source": "pvc://a/b"}}, {"model": OWN}, "Restart"),
    ("the bank moves, and the models with it", {}, {"tuneBank": OWN}, "Refetch"),
    ("the bank moves, the models stay", {"model": OWN}, {"tuneBank": OWN}, "Retune"),
    ("an empty volume for the models", {"tuneBank": OWN}, {"model": {"volume": {}}}, "Refetch"),
    ("what the profile recommends, written out", {}, {"compile": {"mode": "AheadOfTime"}}, "Restart"),
    ("compiled from now on", {"compile": {"mode": "Eager"}}, {"compile": {"mode": "AheadOfTime"}}, "Retune"),
    ("eager from now on", {}, {"compile": {"mode": "Eager"}}, "Restart"),
    ("another precision", {}, {"precision": "BF16"}, "Retune"),
    ("another precision, eager", {"compile": {"mode": "Eager"}}, {"precision": "BF16"}, "Restart"),
    ("a variable", {}, {"server": {"env": [{"name": "A", "value": "1"}]}}, "Restart"),
    ("a label", {}, {"server": {"labels": {"example.org/a.b": "c"}}}, "Restart"),
    ("API keys from now on", {}, {"auth": {"apiKeysSecretRef": {"name": "keys"}}}, "Restart"),
    ("nothing but the deadline of the Job", {}, {"compile": {"tuning": {"activeDeadlineSeconds": 60}}}, "Nothing"),
    ("memory for the compile Job", {}, {"compile": {"resources": {"limits": {"memory": "9Gi"}}}}, "Nothing"),
    ("replicas and how they roll", {}, {"replicas": 3, "rollout": {"maxUnavailable": 2}}, "Live"),
    ("the drain timeout", {}, {"rollout": {"drainTimeoutSeconds": 500}}, "Restart"),
    ("suspended", {}, {"suspend": True}, "Live"),
    ("replicas and precision", {}, {"replicas": 3, "precision": "FP32"}, "Retune"),
    ("everything", {}, {"replicas": 3, "precision": "FP32", "model": {"source": "pvc://a/b"}}, "Refetch"),
]


@pytest.mark.parametrize(("base", "change", "expected"), [row[1:] for row in EDITS], ids=[row[0] for row in EDITS])
def test_an_edit_costs_the_worst_of_its_fields(base: Object, change: Object, expected: str) -> None:
    least = {"model": {"source": "demo://shapes"}, "accelerator": {"profile": "card"}, "buckets": [SMALL]}
    before = merged(least, base)
    old, new = a_resolved(before), a_resolved(merged(before, change))
    assert classify(old, new).impact == expected
    assert seen(old, new) == expected, "the plans"


def test_any_number_of_edits_at_once_cost_what_the_plans_make_of_them() -> None:
    chance = random.Random(6)
    counted = dict.fromkeys(Impact, 0)
    for _ in range(400):
        before = BASES[chance.choice(list(BASES))]
        after = before
        for path, schema in chance.sample(SERVICE_LEAVES, chance.randint(1, 6)):
            after = edited(after, path, schema)
        if chance.random() < 0.5:
            after = merged(after, {"model": {"adapters": chance.choice([[], [PIXEL]]), "refiner": None}})
        old, new = a_resolved(before), a_resolved(after)
        found = classify(old, new)
        assert found.impact is seen(old, new), json.dumps(after)
        assert worst(change.impact for change in found.changes) is found.impact
        counted[found.impact] += 1
    assert sum(1 for count in counted.values() if count) >= 4, counted


@pytest.mark.parametrize(("path", "schema"), PROFILE_LEAVES, ids=[written(path) for path, _ in PROFILE_LEAVES])
def test_a_changed_profile_is_taken_up_by_an_edit_that_replaces_pods_and_by_no_other(
    path: Path, schema: Object
) -> None:
    profile = {**copy.deepcopy(PROFILE_SPEC), **BESIDE.get((PROFILE, written(path)), {})}
    other = dict(put(profile, path, another(PROFILE, path, schema, get(profile, path))))
    edit = merged(SERVICE_SPEC, {"server": {"logPrompts": True}})
    for old, new in ((profile, other), (other, profile)):
        before, after = a_resolved(SERVICE_SPEC, old), a_resolved(edit, new)
        assert classify(before, after).impact is seen(before, after)
        named = [change.difference.path for change in classify(before, after).changes]
        assert "server.logPrompts" in named
        assert any(item.startswith("AcceleratorProfile card: ") for item in named)
        only_live = a_resolved(merged(SERVICE_SPEC, {"replicas": 9}), new)
        assert classify(before, only_live).impact is Impact.LIVE


def test_another_profile_is_told_by_its_name_and_not_field_by_field() -> None:
    after = a_resolved(merged(SERVICE_SPEC, {"accelerator": {"profile": "other"}}), {**PROFILE_SPEC, "image": "i:2"})
    edit = classify(a_resolved(SERVICE_SPEC), after)
    assert [change.difference.path for change in edit.changes] == ["accelerator.profile"]
    assert edit.impact is Impact.RETUNE


def test_the_dearest_field_is_named_first() -> None:
    change = {"replicas": 4, "precision": "BF16", "server": {"logPrompts": True}}
    edit = classify(a_resolved(SERVICE_SPEC), a_resolved(merged(SERVICE_SPEC, change)))
    assert edit.paths == ("precision", "server.logPrompts", "replicas")
    assert edit.of_pods.paths == ("precision", "server.logPrompts")


def test_buckets_are_called_by_their_names() -> None:
    change = {"buckets": [{"width": 128, "height": 128}, {"width": 64, "height": 96, "batch": 4, "promptTokens": 231}]}
    edit = classify(a_resolved(SERVICE_SPEC), a_resolved(merged(SERVICE_SPEC, change)))
    assert edit.paths == ("buckets[64x96b4t231]",)


def test_the_lists_whose_items_have_names_are_those_that_server_side_apply_merges() -> None:
    assert {"buckets", "model.adapters", "server.env", "server.topologySpread"} <= impact.labels_of(ServiceSpec).keys()


def test_each_class_has_a_sentence_and_a_field() -> None:
    assert list(IMPACTS) == list(Impact)
    used = {found for cost in (*SERVICE_FIELDS.values(), *PROFILE_FIELDS.values()) for found in cost.impacts}
    assert used == set(Impact)
    assert [found for found in Impact if not found.replaces_pods] == [Impact.NOTHING, Impact.LIVE]
    assert worst([]) is Impact.NOTHING
