"""The conformance suite against the CPU backend in the cluster, through the Service, with two replicas."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.world import ROOT, Namespace, cpu_service

FORWARDER = (Path(__file__).parent / "forwarder_pod.py").read_text()
BUCKETS = [{"width": 96, "height": 160}, {"width": 96, "height": 160, "batch": 2}]


@pytest.fixture(scope="module")
def url(namespace: Namespace, built: Mapping[str, str]) -> Iterator[str]:
    """The Service of two replicas, on a port of this machine."""
    namespace.apply(cpu_service(buckets=BUCKETS, replicas=2, compile={"mode": "Eager"}))
    namespace.wait_ready(seconds=600)
    host = f"studio.{namespace.name}.svc"
    container = {
        "name": "forwarder",
        "image": built["runtime"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", FORWARDER, host, "80"],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "forwarder"}, "spec": {"containers": [container]}}
    namespace.apply(pod)
    namespace.run("wait", "--for=condition=Ready", "pod/forwarder", "--timeout=60s")
    with namespace.kubectl.port_forward(namespace.name, "pod/forwarder", 8080) as address:
        yield address


def test_the_suite_passes_through_the_service_with_two_replicas(url: str, namespace: Namespace) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance"],
        cwd=ROOT,
        env={**os.environ, "SDXL_CONFORMANCE_URL": url},
        capture_output=True,
        text=True,
        timeout=900,
    )
    print(result.stdout[-3000:])
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    assert re.search(r"^(\d+) passed", result.stdout, re.MULTILINE)


def test_both_replicas_had_a_part_in_it(url: str, namespace: Namespace) -> None:
    pods = namespace.items("pods", "-l", "sdxl.dev/service=studio")
    answered = [
        namespace.run("logs", pod["metadata"]["name"], "-c", "server").count('"message": "request"') for pod in pods
    ]
    assert len(answered) == 2
    assert min(answered) > 5
