"""Nodes with simulated Ascend cards, and a profile that puts the simulated device where ascend-910b puts an NPU."""

from collections.abc import Iterator

import pytest

from dev.cards import NodeCards, SimulatedCards, build_and_load
from dev.demo.kubectl import Kubectl
from tests.ascend.world import CARDS, PROFILE, profile


@pytest.fixture(scope="session")
def node(kubectl: Kubectl) -> str:
    """The first node."""
    return str(kubectl.get("nodes")["items"][0]["metadata"]["name"])


@pytest.fixture(scope="session")
def cards(kubectl: Kubectl, node: str) -> Iterator[SimulatedCards]:
    """Two cards on the first node, taken away at the end."""
    found = SimulatedCards(kubectl, build_and_load())
    found.install(NodeCards(node, CARDS))
    yield found
    found.remove()


@pytest.fixture(scope="session")
def on_cards(kubectl: Kubectl, cards: SimulatedCards) -> Iterator[str]:
    """The name of a profile whose pods get a simulated card."""
    kubectl.run("apply", "-f", "-", text_in=profile(kubectl))
    yield PROFILE
    kubectl.run("delete", "acceleratorprofile", PROFILE, "--ignore-not-found")
