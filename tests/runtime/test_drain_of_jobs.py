"""SIGTERM while a job runs: it is finished, its result waits to be fetched, and then the process ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port, internal = free_port(), free_port()
    settings = {
        "SDXL_BACKEND": "Simulated",
        "SDXL_BUCKETS": json.dumps([{"width": 64, "height": 64}]),
        "SDXL_HOST": "127.0.0.1",
        "SDXL_PORT": str(port),
        "SDXL_INTERNAL_PORT": str(internal),
        "SDXL_ADVERTISED_HOST": "127.0.0.1",
        "SDXL_TERMINATION_LOG": str(folder / "termination-log"),
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sdxl_runtime", "serve"],
            env={**os.environ, "PYTHONPATH": "runtime", **settings},
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{internal}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def test_a_drain_finishes_a_job_and_ends_once_its_result_was_fetched(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, url):
        accepted = httpx.post(
            f"{url}/v1/images/generations",
            json={"prompt": "x", "num_inference_steps": 50},
            headers={"Prefer": "respond-async"},
        )
        assert accepted.status_code == 202
        process.send_signal(signal.SIGTERM)
        time.sleep(3)
        assert process.poll() is None, "the job of one second is over, but nobody has fetched its result"
        refused = httpx.post(f"{url}/v1/images/generations", json={"prompt": "x"})
        assert refused.status_code == 503
        body = httpx.get(url + accepted.headers["Location"]).json()
        assert (body["status"], len(body["result"]["data"])) == ("completed", 1)
        assert process.wait(20) == 0, "long before the thirty seconds are over"
