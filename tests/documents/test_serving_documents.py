"""docs/serving.md against the runtime: every endpoint, field, status, header, metric and setting is in it."""

import re

from fastapi.routing import APIRoute

from dev.chart import ROOT
from sdxl_runtime.app import create_internal_app, create_public_app
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.serving import create_service
from sdxl_runtime.settings import Backend, Settings

SERVING = (ROOT / "docs" / "serving.md").read_text()
APP = "".join(path.read_text() for path in sorted((ROOT / "runtime" / "sdxl_runtime" / "app").glob("*.py")))


def test_every_endpoint_is_documented() -> None:
    service = create_service(Settings(backend=Backend.SIMULATED, buckets=(Bucket(64, 64),)))
    routes = [*create_public_app(service).routes, *create_internal_app(service).routes]
    endpoints = {
        f"`{method} {route.path}`"
        for route in routes
        if isinstance(route, APIRoute) and not route.path.startswith("/page/")
        for method in route.methods
    }
    assert len(endpoints) >= 9
    assert sorted(endpoint for endpoint in endpoints if endpoint.replace(":path", "") not in SERVING) == []


def test_every_status_that_is_answered_is_documented() -> None:
    answered = set(re.findall(r"APIError\((\d{3}),", APP)) | set(re.findall(r"HTTPException\((\d{3}),", APP))
    assert answered >= {"400", "404", "413", "429", "500", "503", "504"}
    assert sorted(status for status in answered if f"| {status} |" not in SERVING) == []


def test_every_variable_that_the_runtime_reads_is_documented() -> None:
    source = (ROOT / "runtime" / "sdxl_runtime" / "settings.py").read_text()
    read = set(re.findall(r'"(SDXL_[A-Z_]+)"', source))
    assert len(read) > 25
    assert sorted(name for name in read if f"`{name}`" not in SERVING) == []


def test_every_metric_is_documented() -> None:
    source = (ROOT / "runtime" / "sdxl_runtime" / "metrics.py").read_text()
    named = set(re.findall(r'"(sdxl_[a-z_]+)"', source))
    assert len(named) > 15
    assert sorted(name for name in named if f"`{name}`" not in SERVING) == []
