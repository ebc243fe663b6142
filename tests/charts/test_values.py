"""values.yaml: each key has a comment and an effect, and values.schema.json refuses what is not one."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import chart
from dev.chart import CHART, helm

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
OTHER: dict[str, Any] = {
    "image.pullPolicy": "Never",
    "runtime.image.pullPolicy": "Never",
    "fetch.pullPolicy": "Never",
    "imagePullSecrets": [{"name": "other"}],
    "tolerations": [{"key": "other"}],
    "affinity": {"nodeAffinity": {}},
    "settings.logLevel": "DEBUG",
    "profiles.cpu.spec.backend": "CUDA",
    "profiles.simulated.spec.backend": "CUDA",
    "profiles.ascend-910b.spec.backend": "CUDA",
    "profiles.cpu.spec.recommendedCompileMode": "Eager",
    "profiles.simulated.spec.recommendedCompileMode": "AheadOfTime",
    "profiles.ascend-910b.spec.recommendedCompileMode": "AheadOfTime",
    "profiles.ascend-910b.spec.resource.name": "huawei.com/other",
    "profiles.ascend-910b.spec.identityLabels": ["other"],
    "profiles.ascend-910b.spec.environment": [{"name": "OTHER", "value": "other"}],
    "networkPolicy.metricsFrom": [{"podSelector": {}}],
    "networkPolicy.apiServerPorts": [8443],
}
NEEDS: dict[str, dict[str, Any]] = {
    "networkPolicy.metricsFrom": {"networkPolicy": {"enabled": True}},
    "networkPolicy.apiServerPorts": {"networkPolicy": {"enabled": True}},
}
"""Values that only say something beside others."""


def leaves(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that can be set, by its dotted path."""
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from leaves(value, f"{path}.{key}" if path else key)
    else:
        yield path, values


def changed(path: str, value: Any) -> Any:
    """Another value that is allowed there."""
    match value:
        case _ if path in OTHER:
            return OTHER[path]
        case bool():
            return not value
        case int():
            return value + 1
        case dict():
            return {"other": "other"}
        case _:
            return "other"


def nested(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    out = dict(one)
    for key, value in other.items():
        out[key] = merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def printed(tmp_path: Path, values: dict[str, Any]) -> str:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    done = helm("template", "release", CHART, "--namespace", "sdxl-system", "--values", file)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    """What was rendered without the change, by the other values."""
    return {}


@pytest.mark.parametrize(("path", "value"), list(leaves(VALUES)))
def test_every_value_changes_what_is_rendered(before: dict[str, str], tmp_path: Path, path: str, value: Any) -> None:
    needs = {} if path.startswith("crds.") else {"crds": {"enabled": False}}  # they are most of the text
    needs |= NEEDS.get(path, {})
    key = json.dumps(needs)
    if key not in before:
        before[key] = printed(tmp_path, needs)
    assert printed(tmp_path, merged(needs, nested(path, changed(path, value)))) != before[key]


def test_every_key_has_a_comment_right_above() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    bare = [
        line.strip()
        for above, line in zip(["", *lines], lines, strict=False)
        if re.match(r"\s*[A-Za-z][-\w]*:", line) and not above.strip().startswith("#") and "value:" not in line
    ]
    assert bare == []


def test_every_key_is_in_the_schema() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    assert sorted(schema["properties"]) == sorted([*VALUES, "global"])
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    "wrong",
    [
        {"imagge": {}},
        {"image": {"tagg": "1"}},
        {"image": {"pullPolicy": "Sometimes"}},
        {"image": {"tag": 1}},
        {"image": {"repository": ""}},
        {"image": {"repository": "sdxl-operator:1.0"}},
        {"crds": {"keep": "yes"}},
        {"fetch": {"environment": {"HTTPS_PROXY": 3128}}},
        {"fetch": {"environment": {"SDXL_MODEL_PATH": "/"}}},
        {"fetch": {"environment": {"NOT A NAME": "x"}}},
        {"watchNamespace": "Not A Name"},
        {"watchNamespace": ["studio"]},
        {"settings": {"workers": 0}},
        {"settings": {"worker": 4}},
        {"settings": {"resyncSeconds": "5m"}},
        {"settings": {"logLevel": "info"}},
        {"profiles": {"Bad Name": {"enabled": True, "spec": {"backend": "CPU"}}}},
        {"profiles": {"other": {"enabled": True}}},
        {"profiles": {"other": {"enabled": True, "spec": {"image": "a"}}}},
        {"profiles": {"cpu": {"spec": {"backend": "TPU"}}}},
        {"profiles": {"cpu": {"spec": {"node_selector": {}}}}},
        {"profiles": {"cpu": {"spec": {"resource": {"name": "no-slash"}}}}},
        {"profiles": {"cpu": {"spec": {"hostMounts": [{"hostPath": "/dev", "writable": True}]}}}},
        {"runAsUser": 0},
        {"resources": {"limit": {}}},
        {"networkPolicy": {"apiServerPorts": []}},
        {"tolerations": {"key": "a"}},
    ],
    ids=str,
)
def test_the_schema_refuses(tmp_path: Path, wrong: dict[str, Any]) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(wrong))
    done = helm("template", "release", CHART, "--values", file)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr


def test_the_generated_parts_of_the_chart_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert chart.main(["--check"]) == 0, capsys.readouterr().err
