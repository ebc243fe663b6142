"""The server that the suite is held against: the one that SDXL_CONFORMANCE_URL names, else one started here.

`SDXL_CONFORMANCE_URL=http://… python -m pytest tests/conformance` holds any server to it. Without it, the suite runs on
the simulated device, and once more on the CPU with the demo model (marked `torch`).
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

ROOT = Path(__file__).resolve().parents[2]
URL = os.environ.get("SDXL_CONFORMANCE_URL", "")
KEY = os.environ.get("SDXL_CONFORMANCE_KEY", "none")
WEIGHTS = ROOT / "runtime" / "sdxl_runtime" / "demo_model" / "weights"
LOCAL: dict[str, dict[str, str]] = {
    "simulated": {"SDXL_BACKEND": "Simulated", "SDXL_SIMULATED_MILLISECONDS": "3"},
    "cpu": {"SDXL_BACKEND": "CPU", "SDXL_MODEL_PATH": str(WEIGHTS), "SDXL_MODEL_VARIANT": "fp16"},
}
BUCKETS = [{"width": 96, "height": 160}, {"width": 96, "height": 160, "batch": 2}, {"width": 160, "height": 96}]


@dataclass(frozen=True)
class Server:
    """What the suite knows of a server: its address, and what it says it serves."""

    url: str
    model: dict[str, Any]
    backend: str

    @property
    def sizes(self) -> list[str]:
        return list(self.model["sdxl"]["sizes"])

    @property
    def batches(self) -> dict[str, int]:
        """The largest batch of each size."""
        found: dict[str, int] = {}
        for key in self.model["sdxl"]["buckets"]:
            size, batch = key.split("t")[0].split("b")
            found[size] = max(found.get(size, 0), int(batch))
        return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" in metafunc.fixturenames:
        targets = [URL] if URL else ["simulated", pytest.param("cpu", marks=pytest.mark.torch)]
        metafunc.parametrize("server", targets, indirect=True, scope="session")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is ready."""
    if URL:
        yield described(URL, "remote")
        return
    port, internal = free_port(), free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "runtime"),
        "SDXL_MODEL_NAME": "studio",
        "SDXL_BUCKETS": json.dumps(BUCKETS),
        "SDXL_HOST": "127.0.0.1",
        "SDXL_PORT": str(port),
        "SDXL_INTERNAL_PORT": str(internal),
        "SDXL_DEFAULT_STEPS": "4",
        "SDXL_TERMINATION_LOG": str(tmp_path_factory.mktemp("server") / "termination-log"),
        **LOCAL[request.param],
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "sdxl_runtime", "serve"], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 300
        while not is_ready(internal):
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not become ready"
            time.sleep(0.1)
        yield described(f"http://127.0.0.1:{port}", request.param)
    finally:
        process.terminate()
        assert process.wait(60) == 0, "whatever the suite did to it, it drains and ends with 0"


def described(url: str, backend: str) -> Server:
    models = httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {KEY}"}, timeout=30).json()
    return Server(url, models["data"][0], backend)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def is_ready(internal: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{internal}/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    """Plain HTTP, as curl."""
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=180) as client:
        yield client


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    """The `openai` package's client."""
    with openai.OpenAI(api_key=KEY, base_url=f"{server.url}/v1", max_retries=0, timeout=180) as client:
        yield client
