"""The API server's field paths, and what is left of an object without such a field."""

from typing import Any

import pytest

from sdxl_operator.cluster.fieldpaths import remove


def an_object() -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": "a", "app.kubernetes.io/name": "b", "app.kubernetes.io": "c"}},
        "spec": {
            "image": "x",
            "env": [{"name": "A", "value": "1"}, {"name": 'quote"]d', "value": "2"}],
            "buckets": [{"width": 64, "height": 64}, {"width": 64, "height": 128}],
            "namespaces": ["team-a", "team-b"],
        },
    }


@pytest.mark.parametrize(
    ("path", "place", "left"),
    [
        (".spec.image", "image", None),
        ('.spec.env[name="A"].value', "env", [{"name": "A"}, {"name": 'quote"]d', "value": "2"}]),
        ('.spec.env[name="A"]', "env", [{"name": 'quote"]d', "value": "2"}]),
        ('.spec.env[name="quote\\"]d"]', "env", [{"name": "A", "value": "1"}]),
        (".spec.buckets[height=128,width=64]", "buckets", [{"width": 64, "height": 64}]),
        ('.spec.namespaces[="team-a"]', "namespaces", ["team-b"]),
        (".spec.env", "env", None),
    ],
)
def test_a_field_is_taken_out(path: str, place: str, left: Any) -> None:
    obj = an_object()
    assert remove(obj, path)
    assert obj["spec"].get(place) == left


def test_a_key_with_dots_is_found_whole() -> None:
    obj = an_object()
    assert remove(obj, ".metadata.labels.app.kubernetes.io/name")
    assert obj["metadata"]["labels"] == {"app": "a", "app.kubernetes.io": "c"}


@pytest.mark.parametrize(
    "path", ["", ".spec.imag", ".spec.images", '.spec.env[name="B"]', ".spec.env[0", ".spec.image.tag", ".status"]
)
def test_a_path_to_nothing_changes_nothing(path: str) -> None:
    obj = an_object()
    assert not remove(obj, path)
    assert obj == an_object()
