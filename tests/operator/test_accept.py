"""Whether a spec can be carried out, and what a user is told where it cannot."""

import pytest

from sdxl_operator.accept import Refusal, accept, measured
from sdxl_operator.api.service import ServiceSpec
from sdxl_operator.naming import Object
from sdxl_operator.plan.resolved import Resolved
from tests.operator.builders import NAMESPACE, a_profile, a_service, service_spec
from tests.operator.observations import used


def sentence(change: Object, *profiles: Object) -> str:
    verdict = accept(a_service(change), profiles or [a_profile()])
    assert isinstance(verdict, Refusal)
    assert verdict.finding.stalled
    return verdict.finding.message


def test_a_good_spec_is_accepted_with_its_profile() -> None:
    verdict = accept(a_service(), [a_profile("other", {"image": "x:1"}), a_profile()])
    assert isinstance(verdict, Resolved)
    assert (verdict.namespace, verdict.name, verdict.profile.image) == (
        NAMESPACE,
        "studio",
        "example.org/sdxl-runtime:1",
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"buckets": []}, "spec.buckets"),
        ({"buckets": [{"width": 100, "height": 128}]}, "spec.buckets.0.width"),
        ({"model": {"source": 5}}, "spec.model.source"),
        ({"precision": "FP7"}, "spec.precision"),
        ({"replicas": -1}, "spec.replicas"),
        ({"server": {"defaults": {"guidanceScale": "31"}}}, "spec.server.defaults.guidanceScale"),
        ({"tuneBank": {"volume": {"accessModes": ["ReadOnlyMany"]}}}, "spec.tuneBank.volume.accessModes.0"),
        ({"model": None}, "spec.model"),
    ],
)
def test_a_field_that_does_not_fit_is_named_as_the_user_writes_it(change: Object, field: str) -> None:
    assert field in sentence(change)


def test_none_of_an_unreadable_spec_is_carried_out() -> None:
    verdict = accept(a_service({"precision": "FP7", "replicas": 9}), [a_profile()])
    assert isinstance(verdict, Refusal)
    assert verdict.spec.replicas == 0


def test_all_that_is_wrong_is_told_at_once() -> None:
    text = sentence({"precision": "FP7", "replicas": -1})
    assert "spec.precision" in text
    assert "spec.replicas" in text


def test_without_any_profile_the_admin_is_named() -> None:
    verdict = accept(a_service(), [])
    assert isinstance(verdict, Refusal)
    assert "an admin makes them" in verdict.finding.message


def test_several_accelerators_need_a_profile_that_counts_them() -> None:
    change = {"accelerator": {"count": 2}}
    assert "use 1" in sentence(change)
    counted = a_profile(change={"resource": {"name": "huawei.com/Ascend910"}})
    assert isinstance(accept(a_service(change), [counted]), Resolved)


def test_a_profile_for_this_namespace_is_allowed() -> None:
    assert isinstance(accept(a_service(), [a_profile(change={"allowedNamespaces": [NAMESPACE]})]), Resolved)
    assert "other" in sentence({}, a_profile(change={"allowedNamespaces": ["other"]}))


@pytest.mark.parametrize(
    ("width", "height", "multiple", "nearest"),
    [
        (128, 128, 32, None),
        (136, 128, 32, "128x128, 160x128"),
        (136, 136, 32, "128x128, 160x160"),
        (32, 40, 64, "64x64"),
        (1000, 1024, 32, "992x1024, 1024x1024"),
        (136, 128, None, None),
        (136, 128, 8, None),
    ],
)
def test_a_size_must_divide_by_what_the_model_needs(
    width: int, height: int, multiple: int | None, nearest: str | None
) -> None:
    spec = ServiceSpec.model_validate(service_spec({"buckets": [{"width": width, "height": height}]}))
    found = measured(spec, [used({"status": {} if multiple is None else {"sizeMultiple": multiple}})])
    assert found.holds == (nearest is None)
    if nearest:
        assert f"nearest: {nearest})" in found.message


@pytest.mark.parametrize(("rank", "holds"), [(None, True), (1, True), (16, True), (17, False)])
def test_an_adapter_may_have_any_rank_up_to_its_maximum(rank: int | None, holds: bool) -> None:
    adapters = [{"name": "pixel", "source": "demo://pixel", "maximumRank": 16}]
    spec = ServiceSpec.model_validate(service_spec({"model": {"adapters": adapters}}))
    status = {} if rank is None else {"sizeMultiple": 1, "rank": rank}
    found = measured(spec, [used({"status": {"sizeMultiple": 32}}), used({"status": status}, "adapters/pixel", "p")])
    assert found.holds == holds
