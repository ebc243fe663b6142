"""The CRDs in a real API server."""

from typing import Any

import json

from tests.apiserver.conftest import ApiServer


def test_every_crd_is_accepted_as_structural(apiserver: ApiServer) -> None:
    """x"""
    found: dict[str, Any] = json.loads(apiserver.kubectl("get", "crd", "-o", "json"))
    assert len(found["items"]) == 4
    for item in found["items"]:
        conditions = {one["type"]: one["status"] for one in item["status"]["conditions"]}
        assert conditions["Established"] == "True" and "NonStructuralSchema" not in conditions, conditions
