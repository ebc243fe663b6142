"""schemathesis over the server's own OpenAPI: nothing that fits it, and nothing that does not, is a server's error."""

import os
import re
import subprocess
import sys

import httpx
import psutil
import pytest

from tests.conformance.conftest import KEY, ROOT, Server

CASES = 300
LONG_CASES = 20_000


def explore(server: Server, cases: int, timeout: float) -> str:
    """Run schemathesis with so many generated cases, spread over the operations; its report."""
    operations = len(httpx.get(f"{server.url}/openapi.json").json()["paths"])
    words = [
        *("run", f"{server.url}/openapi.json", "--phases=fuzzing", "--mode=all"),
        *("--checks=not_a_server_error", "--max-response-time=60", "--request-timeout=60", "--continue-on-failure"),
        *(f"--max-examples={-(-cases // operations)}", "--seed=1", "--no-shrink", "--workers=4", "--no-color"),
        *("-H", f"Authorization: Bearer {KEY}", "--generation-database=none", "--warnings=off"),
    ]
    result = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", *words],
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.conformance.schema_hooks", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-3000:]
    return result.stdout


def generated(report: str) -> int:
    found = re.search(r"Test cases:\s+(\d+) generated", report)
    assert found, report[-2000:]
    return int(found[1])


def test_no_request_is_a_servers_error(server: Server) -> None:
    if server.backend != "cpu":
        pytest.skip("the simulated device has its turn in the long tests, and a remote server is not flooded")
    assert generated(explore(server, CASES, 600)) >= CASES


@pytest.mark.long
def test_twenty_thousand_requests_leave_the_server_as_it_was(server: Server) -> None:
    if server.backend != "simulated":
        pytest.skip("for the simulated device")
    process = next(p for p in psutil.Process().children(recursive=True) if "serve" in p.cmdline())
    explore(server, CASES, 600)
    before = process.memory_info().rss
    assert generated(explore(server, LONG_CASES, 3600)) >= LONG_CASES
    assert process.memory_info().rss < 1.1 * before
    answer = httpx.post(f"{server.url}/v1/images/generations", json={"prompt": "x"}, timeout=60)
    assert answer.status_code == 200
