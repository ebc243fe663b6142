"""What is rolled out since a revision, what brings one back, and what an update would bring."""

import random

import pytest

from sdxl_operator.api import ServiceSpec
from sdxl_operator.impact.revisions import back_to, since, to_status
from sdxl_operator.impact.updates import SHOWN, offered
from sdxl_operator.kubectl.undo import applied
from sdxl_operator.naming import Object
from sdxl_operator.plan import replica, revision
from sdxl_operator.plan.resolved import Resolved
from tests.operator.builders import DIGEST, a_profile, a_service, merged, resolved, service_spec

FULL: Object = {
    "model": {"adapters": [{"name": "pixel", "source": "demo://pixel"}], "retention": "Delete"},
    "buckets": [{"width": 128, "height": 128}, {"width": 64, "height": 64, "batch": 2}],
    "compile": {"resources": {"limits": {"memory": "1Gi"}}, "tuning": {"minimumSpeedupPercent": 110}},
    "replicas": 4,
    "rollout": {"strategy": "Surge", "drainTimeoutSeconds": 500},
    "server": {"env": [{"name": "A", "value": "1"}], "labels": {"team": "a"}, "resources": {"requests": {"cpu": 1}}},
    "auth": {"apiKeysSecretRef": {"name": "keys"}},
    "expose": {"service": {"port": 8080}},
}
MORE: Object = {
    "model": {"refiner": {"source": "demo://shapes-refiner"}, "volume": {"claimName": "own"}},
    "precision": "BF16",
    "server": {"env": [{"name": "B", "value": "2"}], "labels": {"other": "b"}, "logPrompts": True},
    "suspend": True,
}


def stored(service: Resolved, number: int = 1) -> Object:
    return revision.build(a_service(), service, replica.template(service, DIGEST), number)


def test_what_is_rolled_out_is_what_replaces_pods_since_the_revision() -> None:
    after = resolved({"replicas": 5, "precision": "BF16", "server": {"env": [{"name": "A"}]}})
    edit = since(stored(resolved()), after)
    assert to_status(edit) == {"impact": "Retune", "fields": ["precision", "server.env[A]"]}


@pytest.mark.parametrize("change", [{}, {"replicas": 5}, {"suspend": True}, {"model": {"retention": "Delete"}}])
def test_what_a_revision_does_not_freeze_is_no_rollout(change: Object) -> None:
    assert to_status(since(stored(resolved(FULL)), resolved(merged(FULL, change)))) is None


def test_a_revision_that_cannot_be_read_says_nothing() -> None:
    unreadable = merged(stored(resolved()), {"data": {"spec": {"precision": "FP4"}}})
    assert since(unreadable, resolved({"precision": "BF16"})).changes == ()


def test_status_names_a_few_fields_only() -> None:
    after = resolved({"server": {"env": [{"name": f"A{number}"} for number in range(40)]}})
    told = to_status(since(stored(resolved()), after))
    assert told is not None
    assert len(told["fields"]) == 8


def as_defaulted(change: Object) -> Object:
    """A spec as the API server stores it."""
    return ServiceSpec.model_validate(service_spec(change)).model_dump(by_alias=True, mode="json", exclude_none=True)


CHANGES = [
    {},
    FULL,
    MORE,
    merged(FULL, MORE),
    {"replicas": 0},
    {"precision": "FP16"},
    {"tuneBank": {"retention": "Delete"}},
]


@pytest.mark.parametrize("before", CHANGES)
@pytest.mark.parametrize("now", CHANGES)
def test_going_back_restores_what_the_revision_froze_and_nothing_else(before: Object, now: Object) -> None:
    frozen, live = resolved(before), as_defaulted(now)
    patch = back_to(stored(frozen), ServiceSpec.model_validate(live))
    after = ServiceSpec.model_validate(applied(live, patch))
    assert Resolved(frozen.namespace, frozen.name, after, frozen.profile).content == frozen.content
    kept = resolved(now).spec
    assert (after.replicas, after.suspend, after.expose) == (kept.replicas, kept.suspend, kept.expose)
    assert after.rollout.strategy == kept.rollout.strategy
    assert (after.model.retention, after.tune_bank.retention) == (kept.model.retention, kept.tune_bank.retention)
    assert after.compile.resources == kept.compile.resources


def test_going_back_to_what_is_there_changes_nothing() -> None:
    assert back_to(stored(resolved(FULL)), resolved(merged(FULL, {"replicas": 9})).spec) == {}


def test_a_patch_names_only_what_differs() -> None:
    live = resolved({"precision": "BF16", "server": {"labels": {"team": "a"}}}).spec
    assert back_to(stored(resolved()), live) == {"precision": "Auto", "server": {"labels": {"team": None}}}


def test_nothing_is_offered_where_the_pods_would_be_the_same() -> None:
    template = replica.template(resolved(), DIGEST)
    assert offered(resolved(), resolved(), template, template) == ""


def test_an_offer_names_the_image_first_and_each_field_of_the_template() -> None:
    change = {"image": "example.org/sdxl-runtime:2", "podLabels": {"newer": "yes"}, "nodeSelector": {"card": "b"}}
    old, new = resolved(), resolved(None, a_profile(change=change))
    text = offered(old, new, replica.template(old, DIGEST), replica.template(new, DIGEST))
    assert text.startswith(
        "The next edit that replaces pods also brings (Retune) "
        "spec.containers[server].image: example.org/sdxl-runtime:1 → example.org/sdxl-runtime:2; "
    )
    assert "metadata.labels.newer: yes added" in text
    assert "spec.nodeSelector" in text or "more" in text, "what is not shown is counted"


def test_an_offer_of_a_newer_operator_alone_is_a_restart() -> None:
    old = replica.template(resolved(), DIGEST)
    new = merged(old, {"spec": {"terminationGracePeriodSeconds": 7}})
    text = offered(resolved(), resolved(), old, new)
    assert text.endswith("(Restart) spec.terminationGracePeriodSeconds: 450 → 7")


def test_a_long_offer_says_how_much_more_there_is() -> None:
    chance = random.Random(6)
    labels = {f"label-{number}": str(chance.random()) for number in range(SHOWN + 3)}
    new = resolved(None, a_profile(change={"podLabels": labels}))
    text = offered(resolved(), new, replica.template(resolved(), DIGEST), replica.template(new, DIGEST))
    assert text.endswith("; and 3 more")
