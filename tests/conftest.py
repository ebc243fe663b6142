"""For the tests that need it: the real cluster with the chart installed, and a namespace for each of their modules.

Nothing outside these namespaces, the release's own and that of the simulated cards is touched.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from dev import images
from dev.cluster.provider import choose
from dev.demo.kubectl import Kubectl, install_chart
from tests.e2e.world import CHART_SETTINGS, Namespace

ON_THE_CLUSTER = [Path(__file__).parent / folder for folder in ("e2e", "ascend")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(Path(item.path).is_relative_to(folder) for folder in ON_THE_CLUSTER):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def built() -> Mapping[str, str]:
    """The references of the images, built and on the nodes."""
    choose().up()
    return images.build_and_load()


@pytest.fixture(scope="session")
def kubectl(built: Mapping[str, str]) -> Kubectl:
    """kubectl for a cluster in which this chart and these images are installed."""
    found = Kubectl(choose().kubeconfig)
    install_chart(found, built, *CHART_SETTINGS)
    return found


@pytest.fixture(scope="module")
def namespace(kubectl: Kubectl, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace of this module's own, removed with all that is in it."""
    name = f"{request.path.parent.name}-" + re.sub(
        r"[^a-z0-9]+", "-", request.module.__name__.split(".")[-1].removeprefix("test_")
    )
    kubectl.run("delete", "namespace", name, "--ignore-not-found", timeout=180)
    kubectl.run("create", "namespace", name)
    yield Namespace(kubectl, name)
    kubectl.run("delete", "namespace", name, "--ignore-not-found", "--wait=false")
