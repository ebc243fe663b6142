"""Where two JSON values differ, and how that is said."""

from typing import Any

import pytest

from sdxl_operator.difference import Difference, by, differences

LABELS = {"env": by("name"), "env[].parts": by("a", "b")}


def found(before: Any, after: Any) -> list[Difference]:
    return list(differences(before, after, LABELS))


CASES: list[tuple[str, Any, Any, list[tuple[str, str, str]]]] = [
    ("nothing", {"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]}, []),
    ("a value", {"a": {"b": 1}}, {"a": {"b": 2}}, [("a.b", "a.b", "a.b: 1 → 2")]),
    ("a flag", {"a": False}, {"a": True}, [("a", "a", "a: false → true")]),
    ("a value that is empty now", {"a": "x"}, {"a": ""}, [("a", "a", "a: x → ''")]),
    ("a value that came", {}, {"a": 1}, [("a", "a", "a: 1 added")]),
    ("a value that went", {"a": 1}, {}, [("a", "a", "a removed")]),
    ("a part that came, whole", {}, {"a": {"b": {"c": 1}}}, [("a", "a", "a added")]),
    ("a list that is one value", {"a": [1, 2]}, {"a": [2, 1]}, [("a", "a", "a: [1, 2] → [2, 1]")]),
    (
        "an item of a keyed list",
        {"env": [{"name": "A", "value": "1"}, {"name": "B"}]},
        {"env": [{"name": "A", "value": "2"}, {"name": "B"}]},
        [("env[A].value", "env[].value", "env[A].value: 1 → 2")],
    ),
    (
        "one that came and one that went",
        {"env": [{"name": "A"}]},
        {"env": [{"name": "B"}]},
        [("env[A]", "env[]", "env[A] removed"), ("env[B]", "env[]", "env[B] added")],
    ),
    (
        "the order of a keyed list",
        {"env": [{"name": "A"}, {"name": "B"}]},
        {"env": [{"name": "B"}, {"name": "A"}]},
        [("env", "env", "env: [A, B] → [B, A]")],
    ),
    (
        "one that comes first leaves the others' order",
        {"env": [{"name": "A"}, {"name": "B"}]},
        {"env": [{"name": "C"}, {"name": "A"}, {"name": "B"}]},
        [("env[C]", "env[]", "env[C] added")],
    ),
    (
        "a keyed list in a keyed list, by two keys",
        {"env": [{"name": "A", "parts": [{"a": 1, "b": 2, "c": 3}]}]},
        {"env": [{"name": "A", "parts": [{"a": 1, "b": 2, "c": 4}]}]},
        [("env[A].parts[1,2].c", "env[].parts[].c", "env[A].parts[1,2].c: 3 → 4")],
    ),
    ("something large", {"a": "x"}, {"a": {"b": 1}}, [("a", "a", "a changed")]),
]


@pytest.mark.parametrize(("before", "after", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_place_that_differs_is_named_once(before: Any, after: Any, expected: list[tuple[str, str, str]]) -> None:
    assert [(item.path, item.field, item.words) for item in found(before, after)] == expected
