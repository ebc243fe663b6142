"""The servers a scenario of the page runs against: the stand-in, and `sdxl-runtime serve` on two backends."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx

from dev.chart import ROOT
from tests.page.fakeserver import Running

SIMULATED, DEMO, STAND_IN = "simulated", "demo", "stand-in"
BUCKETS = [{"width": 128, "height": 128}, {"width": 160, "height": 96}, {"width": 96, "height": 160}]


class Server(Protocol):
    """What a scenario asks of a server."""

    url: str

    def in_flight(self) -> int:
        """Requests that hold a row now."""
        ...


@dataclass
class Serving:
    """A process of `sdxl-runtime serve`."""

    url: str
    internal: str

    def in_flight(self) -> int:
        """Requests that hold a row or wait for one."""
        load = httpx.get(f"{self.internal}/v1/load").json()
        return int(load["inFlight"] + load["waiting"])


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Return once the condition is true; fail where it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@contextmanager
def start(name: str, folder: Path) -> Iterator[Server]:
    """The named server, ready."""
    if name == STAND_IN:
        with Running() as stand_in:
            yield stand_in
        return
    backend = {"SDXL_BACKEND": "Simulated", "SDXL_SIMULATED_MILLISECONDS": "40"}
    if name == DEMO:
        weights = ROOT / "runtime/sdxl_runtime/demo_model/weights"
        backend = {"SDXL_BACKEND": "CPU", "SDXL_MODEL_PATH": str(weights), "SDXL_MODEL_VARIANT": "fp16"}
        backend["OMP_NUM_THREADS"] = (
            "1"  # on a busy machine, threads that wait for each other cost more than they bring
        )
    with _serve(folder, backend) as server:
        yield server


@contextmanager
def _serve(folder: Path, backend: dict[str, str]) -> Iterator[Serving]:
    ports = _free_port(), _free_port()
    settings = {
        "SDXL_MODEL_NAME": "studio",
        "SDXL_BUCKETS": json.dumps(BUCKETS),
        "SDXL_DEFAULT_STEPS": "20",
        "SDXL_DEFAULT_GUIDANCE_SCALE": "3.0",
        "SDXL_HOST": "127.0.0.1",
        "SDXL_PORT": str(ports[0]),
        "SDXL_INTERNAL_PORT": str(ports[1]),
        "SDXL_TERMINATION_LOG": str(folder / "termination-log"),
        **backend,
    }
    command = [sys.executable, "-m", "sdxl_runtime", "serve"]
    environment = {**os.environ, "PYTHONPATH": "runtime", **settings}
    with (folder / "log").open("w") as log, subprocess.Popen(command, env=environment, cwd=ROOT, stderr=log) as process:
        server = Serving(*(f"http://127.0.0.1:{port}" for port in ports))
        try:
            wait_for(lambda: _is_ready(server, process), seconds=180)
            yield server
        finally:
            process.kill()


def _is_ready(server: Serving, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "the server ended before it was ready"
    try:
        return httpx.get(f"{server.internal}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
