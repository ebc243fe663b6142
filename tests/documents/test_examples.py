"""The examples, read as the operator reads them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.chart import CHART, ROOT
from sdxl_operator.api import ServiceSpec
from sdxl_runtime.demo_model.scenes import BUCKETS as DEMO_SIZES

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
PROFILES = yaml.safe_load((CHART / "values.yaml").read_text())["profiles"]


def documents() -> list[Any]:
    """Every object of every example."""
    found = [(path, document) for path in EXAMPLES for document in yaml.safe_load_all(path.read_text())]
    return [pytest.param(document, id=f"{path.stem}-{document['metadata']['name']}") for path, document in found]


@pytest.mark.parametrize("document", documents())
def test_the_operator_reads_every_field_of_an_example(document: dict[str, Any]) -> None:
    assert (document["apiVersion"], document["kind"]) == ("sdxl.dev/v1alpha1", "SDXLService")
    spec = ServiceSpec.model_validate(document["spec"])
    assert spec.model_dump(by_alias=True, exclude_unset=True, mode="json") == document["spec"]


@pytest.mark.parametrize("document", documents())
def test_an_example_names_a_profile_that_the_chart_ships(document: dict[str, Any]) -> None:
    assert document["spec"]["accelerator"]["profile"] in PROFILES


@pytest.mark.parametrize("document", documents())
def test_what_was_accepted_can_be_finished_before_a_replica_is_ended(document: dict[str, Any]) -> None:
    spec = ServiceSpec.model_validate(document["spec"])
    assert spec.rollout.drain_timeout_seconds >= spec.server.request_timeout_seconds


def test_the_demo_serves_the_sizes_that_its_model_was_trained_on() -> None:
    spec = yaml.safe_load((ROOT / "examples" / "demo.yaml").read_text())["spec"]
    sizes = [(bucket["width"], bucket["height"]) for bucket in spec["buckets"]]
    assert set(sizes) == set(DEMO_SIZES)
    assert {bucket.get("batch", 1) for bucket in spec["buckets"]} == {1, 4}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_says_what_it_shows(path: Path) -> None:
    assert path.read_text().startswith("# ")


def test_the_ascend_example_says_that_it_was_not_tried() -> None:
    assert "Not verified on hardware" in (ROOT / "examples" / "ascend-910b.yaml").read_text()
