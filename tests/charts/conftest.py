"""The chart as `helm template` prints it. Helm is the local cluster's own, built once into the cache."""

import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.chart import CHART
from dev.cluster.programs import HELM, KUBERNETES, ensure

Objects = list[dict[str, Any]]
Render = Callable[..., Objects]


@pytest.fixture(scope="session")
def helm() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`helm(words…)` runs helm, whatever it says about the outcome."""
    ensure([HELM])

    def run(command: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        # without a cluster helm assumes the Kubernetes that it was built for
        line = [HELM.target, command, "--kube-version", KUBERNETES, *words]
        return subprocess.run(line, capture_output=True, text=True, timeout=120)

    return run


@pytest.fixture(scope="session")
def render(helm: Callable[..., subprocess.CompletedProcess[str]]) -> Render:
    """`render("default", "--set", "a=b")`: the objects for a file of ci/ and further words; each rendering is kept."""

    @cache
    def objects(values: str, *words: str) -> Objects:
        file = CHART / "ci" / f"{values}-values.yaml"
        done = helm("template", "release", CHART, "--namespace", "sdxl-system", "--values", file, *words)
        assert done.returncode == 0, done.stderr
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    return objects


@pytest.fixture(params=sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*.yaml")))
def values(request: pytest.FixtureRequest) -> str:
    """Each set of values in ci/, by its name."""
    return str(request.param)


@pytest.fixture
def objects(render: Render, values: str) -> Objects:
    """What the chart makes of one set of values."""
    return render(values)
