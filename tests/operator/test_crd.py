"""Structural schemas from pydantic models, rule by rule; that the API server agrees is in tests/apiserver."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import ConfigDict, Field

from sdxl_operator import crd
from sdxl_operator.api import KINDS, KindDefinition
from sdxl_operator.api.resource import Part, Quantity, list_map, rules
from sdxl_operator.crd import NotStructural, definition, missing_fields, structural
from sdxl_operator.crd.__main__ import main

CRDS = Path(__file__).parents[2] / "crds"

EVERY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)


def schema_of(annotation: Any, default: Any = ...) -> Any:
    """The structural schema of one field."""
    model = type("Model", (Part,), {"__annotations__": {"field": annotation}, "field": default})
    return structural(model)["properties"]["field"]


def walk(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}")
    for part in ("items", "additionalProperties"):
        if part in schema:
            yield from walk(schema[part], f"{path}[]")


class Colour(StrEnum):
    """Described here, and not in the schema."""

    RED = "Red"


class Inner(Part):
    """An inner part."""

    size: int = 3
    """How large."""


class Deep(Part):
    """A part with a part."""

    inner: Inner = Inner()
    """The part."""


def test_an_optional_field_is_one_that_may_be_absent_and_never_null() -> None:
    assert schema_of(str | None, None) == {"type": "string"}


def test_an_enumeration_is_inlined() -> None:
    assert schema_of(Colour | None, None)["enum"] == ["Red"]
    assert schema_of(Literal["One"], "One") == {"type": "string", "enum": ["One"], "default": "One"}


def test_a_quantity_is_an_int_or_string() -> None:
    assert schema_of(Quantity | None, None) == {"x-kubernetes-int-or-string": True}
    assert schema_of(dict[str, Quantity], {})["additionalProperties"] == {"x-kubernetes-int-or-string": True}


def test_a_default_is_kept_unless_it_says_nothing() -> None:
    assert schema_of(int, 0)["default"] == 0
    assert schema_of(bool, False)["default"] is False
    assert "default" not in schema_of(str, "")
    assert "default" not in schema_of(list[str], [])
    assert "default" not in schema_of(dict[str, str], {})


def test_a_part_with_defaults_inside_gets_a_default_itself_at_every_depth() -> None:
    schema = schema_of(Deep, Deep())
    assert schema["default"] == {}
    assert schema["properties"]["inner"]["default"] == {}
    assert schema["properties"]["inner"]["properties"]["size"]["default"] == 3


def test_a_default_keeps_what_differs_from_the_parts_own() -> None:
    assert schema_of(Deep, Deep(inner=Inner(size=9)))["default"] == {"inner": {"size": 9}}


def test_an_optional_part_gets_no_default_since_absent_means_something() -> None:
    assert "default" not in schema_of(Deep | None, None)


def test_a_required_part_gets_no_default_since_it_must_be_given() -> None:
    assert "default" not in schema_of(Deep)


def test_a_status_has_no_defaults_at_all() -> None:
    assert not any("default" in inner for _, inner in walk(structural(Deep, defaults=False)))


def test_a_field_is_described_by_its_own_docstring_and_not_by_its_types() -> None:
    class Model(Part):
        inner: Inner = Inner()
        """What it is
        here.

        A second paragraph."""

    assert structural(Model)["properties"]["inner"]["description"] == "What it is here.\nA second paragraph."


def test_rules_of_the_model_and_of_the_field_are_both_kept() -> None:
    class Ruled(Part):
        model_config = ConfigDict(json_schema_extra=rules(("self.size > 0", "a size")))
        size: int = 1

    field = Annotated[Ruled, Field(json_schema_extra=rules(("self.size < 9", "a small size")))]
    messages = [rule["message"] for rule in schema_of(field, Ruled())["x-kubernetes-validations"]]
    assert messages == ["a size", "a small size"]


def test_a_list_map_and_its_bounds_pass_through() -> None:
    schema = schema_of(Annotated[list[Inner], Field(max_length=4, json_schema_extra=list_map("size"))], [])
    assert (schema["x-kubernetes-list-type"], schema["x-kubernetes-list-map-keys"]) == ("map", ["size"])
    assert schema["maxItems"] == 4


def test_exclusive_bounds_of_integers_become_inclusive_ones() -> None:
    schema = schema_of(Annotated[int, Field(gt=0, lt=10)], 1)
    assert (schema["minimum"], schema["maximum"]) == (1, 9)


def test_free_form_objects_keep_unknown_fields() -> None:
    assert schema_of(dict[str, Any], {}) == {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


class Endless(Part):
    """A part that contains itself."""

    again: "Endless | None" = None
    """Itself."""


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (float, r"Model\.field: a float"),
        (Inner | Deep, r"Model\.field: a union"),
        (int | list[str], r"Model\.field: a union"),
        (tuple[int, str], r"Model\.field: .* has no structural counterpart"),
        (set[str], r"Model\.field: uniqueItems has no structural counterpart"),
        (Any, r"Model\.field: no type"),
        (list[dict[str, float]], r"Model\.field\[\]\{\}: a float"),
        (Endless, r"Model\.field\.again: Endless contains itself"),
    ],
)
def test_what_has_no_structural_counterpart_is_refused_with_its_path(annotation: Any, message: str) -> None:
    with pytest.raises(NotStructural, match=message):
        schema_of(annotation)


@EVERY_KIND
def test_every_field_has_a_description(kind: KindDefinition) -> None:
    models = [structural(model) for model in (kind.spec, kind.status) if model]
    missing = [
        f"{path}.{name}"
        for model in models
        for path, schema in walk(model)
        for name, inner in schema.get("properties", {}).items()
        if not inner.get("description")
    ]
    assert missing == []


@EVERY_KIND
def test_every_list_and_text_of_a_spec_is_bounded_for_the_cost_of_rules(kind: KindDefinition) -> None:
    unbounded = [
        path
        for path, schema in walk(structural(kind.spec))
        if (schema.get("type") == "array" and "maxItems" not in schema)
        or (schema.get("type") == "string" and not {"maxLength", "enum", "pattern", "format"} & schema.keys())
    ]
    assert unbounded == []


@EVERY_KIND
def test_every_list_of_objects_says_how_it_is_merged(kind: KindDefinition) -> None:
    atomic = {".tolerations"}
    for path, schema in walk(structural(kind.spec)):
        if schema.get("type") == "array" and schema["items"].get("type") == "object" and path not in atomic:
            keys = schema["x-kubernetes-list-map-keys"]
            given = {name for name in keys if "default" in schema["items"]["properties"][name]}
            assert set(keys) <= given | set(schema["items"].get("required", [])), path


@EVERY_KIND
def test_every_column_shows_a_field_of_the_schema(kind: KindDefinition) -> None:
    root = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for column in kind.columns:
        path = column.json_path.partition("[?(")[0]
        schema = root
        for name in path.strip(".").split("."):
            if name == "metadata":
                break
            schema = schema["properties"][name]


def test_no_category_is_a_short_name_because_kubectl_would_list_the_category() -> None:
    names = {name for kind in KINDS for name in (*kind.short_names, kind.plural, kind.singular)}
    assert not names & {category for kind in KINDS for category in kind.categories}


def test_the_files_in_crds_are_those_of_the_models() -> None:
    assert main([str(CRDS), "--check"]) == 0, "run `python -m sdxl_operator.crd`"


def test_the_command_writes_what_the_check_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "stale.yaml").write_text("")
    assert main([str(tmp_path)]) == 0
    assert main([str(tmp_path), "--check"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"{kind.plural}.yaml" for kind in KINDS}
    (tmp_path / "sdxlmodels.yaml").write_text("kind: Other")
    assert main([str(tmp_path), "--check"]) == 1
    assert "sdxlmodels.yaml in" in capsys.readouterr().err


def test_the_files_are_plain_yaml_without_anchors() -> None:
    for text in crd.files().values():
        assert "&id" not in text
        assert yaml.safe_load(text)["kind"] == "CustomResourceDefinition"


def test_a_crd_of_this_version_lacks_nothing() -> None:
    assert missing_fields(definition(KINDS[0]), definition(KINDS[0])) == []


def test_an_older_crd_lacks_the_fields_that_it_does_not_know() -> None:
    older, wanted = definition(KINDS[0]), definition(KINDS[0])
    older["metadata"]["annotations"] = {}
    spec = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    del spec["suspend"]
    del spec["buckets"]["items"]["properties"]["batch"]
    assert missing_fields(older, wanted) == ["spec.buckets[].batch", "spec.suspend"]


def test_an_older_crd_lacks_values_and_subresources_too() -> None:
    older, wanted = definition(KINDS[0]), definition(KINDS[0])
    version = older["spec"]["versions"][0]
    del version["subresources"]["scale"]
    precision = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["precision"]
    precision["enum"].remove("BF16")
    assert missing_fields(older, wanted) == ["the subresource scale", "spec.precision=BF16"]
    del precision["enum"]
    assert missing_fields(older, wanted) == ["the subresource scale"], "anything is taken there"


def test_what_a_crd_keeps_without_knowing_it_is_not_missing() -> None:
    older, wanted = definition(KINDS[0]), definition(KINDS[0])
    schema = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    schema["spec"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    assert missing_fields(older, wanted) == []


def test_a_crd_says_by_its_hash_whether_it_is_of_this_version() -> None:
    live, wanted = definition(KINDS[0]), definition(KINDS[0])
    assert crd.is_of_this_version(live, wanted)
    live["metadata"]["annotations"][crd.HASH_ANNOTATION] = "newer"
    assert not crd.is_of_this_version(live, wanted)
    del live["metadata"]["annotations"]
    assert not crd.is_of_this_version(live, wanted)


def test_a_newer_crd_lacks_nothing() -> None:
    newer, wanted = definition(KINDS[0]), definition(KINDS[0])
    newer["metadata"]["annotations"][crd.HASH_ANNOTATION] = "newer"
    spec = newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    spec["later"] = {"type": "string"}
    assert missing_fields(newer, wanted) == []


def test_a_crd_that_does_not_serve_our_version_lacks_it() -> None:
    other, wanted = definition(KINDS[0]), definition(KINDS[0])
    other["metadata"]["annotations"] = {}
    other["spec"]["versions"][0]["served"] = False
    assert missing_fields(other, wanted) == ["v1alpha1"]
