"""A real API server takes every example, with strict field validation."""

from pathlib import Path

import pytest

from dev.chart import ROOT
from tests.apiserver.conftest import ApiServer

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_example_is_accepted(apiserver: ApiServer, namespace: str, path: Path) -> None:
    said = apiserver.kubectl(
        *("apply", "--dry-run=server", "--validate=strict", f"--namespace={namespace}", "-f", "-"),
        text_in=path.read_text(),
    )
    assert "created (server dry run)" in said
