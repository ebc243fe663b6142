"""The chart as `helm template` prints it."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from dev import chart
from dev.chart import CHART

Objects = list[dict[str, Any]]
Render = Callable[..., Objects]


@pytest.fixture(scope="session")
def render() -> Render:
    """`render("default", "--set", "a=b")`: the objects for a file of ci/ and further words; each rendering is kept."""

    @cache
    def objects(values: str, *words: str) -> Objects:
        return chart.template("--values", CHART / "ci" / f"{values}-values.yaml", *words)

    return objects


@pytest.fixture(params=sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*.yaml")))
def values(request: pytest.FixtureRequest) -> str:
    """Each set of values in ci/, by its name."""
    return str(request.param)


@pytest.fixture
def objects(render: Render, values: str) -> Objects:
    """What the chart makes of one set of values."""
    return render(values)
