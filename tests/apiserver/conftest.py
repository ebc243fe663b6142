"""A real API server with its etcd, on loopback, for one test session: no nodes, no controllers, in seconds."""

import base64
import json
import secrets
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster.programs import HYPERKUBE, ensure
from sdxl_operator import crd, naming
from sdxl_operator.api import KINDS
from sdxl_operator.cluster.recorder import EventRecorder
from sdxl_operator.cluster.server import KubernetesCluster
from sdxl_operator.cluster.transport import Transport, load_configuration
from sdxl_operator.naming import Object

START_SECONDS = 120


@dataclass(frozen=True)
class ApiServer:
    """The running API server: a kubeconfig file for an admin and for others, and kubectl."""

    kubeconfig: Path
    nobody: Path
    everywhere: Path
    """As the account `everywhere-sdxl-operator`, which has the rights that a test gives it."""
    in_one_namespace: Path
    """As the account `one-sdxl-operator`, likewise."""

    def kubectl(self, *arguments: str, check: bool = True, text_in: str = "") -> str:
        """What kubectl prints, errors included where `check` is off."""
        done = subprocess.run(
            ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments],
            executable=HYPERKUBE.target,
            input=text_in,
            capture_output=True,
            text=True,
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout + ("" if check else done.stderr)

    def apply(self, *objects: object, check: bool = True) -> str:
        """Apply objects as an admin does, with strict validation."""
        return self.kubectl(
            "apply", "--validate=strict", "-f", "-", check=check, text_in="\n---\n".join(map(json.dumps, objects))
        )


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A fresh API server with the CRDs in it."""
    ensure([HYPERKUBE])
    folder = tmp_path_factory.mktemp("apiserver")
    processes: list[subprocess.Popen[bytes]] = []
    try:
        server = _start(folder, processes)
        server.apply(*(crd.definition(kind) for kind in KINDS))
        server.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", *map(crd.name_of, KINDS))
        yield server
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGKILL)
            process.wait()


@pytest.fixture
def namespace(apiserver: ApiServer) -> str:
    """A namespace of its own for each test."""
    name = f"test-{secrets.token_hex(4)}"
    apiserver.kubectl("create", "namespace", name)
    return name


@pytest.fixture
async def transport(apiserver: ApiServer) -> AsyncIterator[Transport]:
    """Calls as an admin."""
    async with Transport(await load_configuration(apiserver.kubeconfig), queries_per_second=1000) as transport:
        yield transport


@pytest.fixture
def cluster(transport: Transport) -> KubernetesCluster:
    """The operator's cluster, as it is after a restart."""
    return KubernetesCluster(transport, EventRecorder(transport))


def _start(folder: Path, processes: list[subprocess.Popen[bytes]]) -> ApiServer:
    etcd, peer, port = free_ports(3)
    processes.append(
        _run(
            folder,
            "etcd",
            f"--data-dir={folder / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls=http://127.0.0.1:{etcd}",
            f"--advertise-client-urls=http://127.0.0.1:{etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            "--log-level=warn",
        )
    )
    key = folder / "accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    account = "system:serviceaccount:sdxl-system:{}-sdxl-operator"
    users = ("admin", "nobody", account.format("everywhere"), account.format("one"))
    tokens = [secrets.token_hex(16) for _ in users]
    groups = ('"system:masters"', "", "", "")
    lines = [",".join(line) for line in zip(tokens, users, users, groups, strict=True)]
    (folder / "tokens.csv").write_text("\n".join(lines))
    processes.append(
        _run(
            folder,
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--secure-port={port}",
            f"--cert-dir={folder}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--profiling=false",
        )
    )
    _wait_ready(f"https://127.0.0.1:{port}/readyz", tokens[0], folder, processes)
    return ApiServer(*(_kubeconfig(folder, port, user, token) for user, token in zip(users, tokens, strict=True)))


def _run(folder: Path, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen([name, *arguments], executable=HYPERKUBE.target, stdout=log, stderr=log)


def _wait_ready(url: str, token: str, folder: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    trusting = ssl._create_unverified_context()  # the certificate is made while the server starts
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        for process in processes:
            assert process.poll() is None, _last_lines(folder)
        try:
            request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
            with urllib.request.urlopen(request, context=trusting, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"the API server was not ready within {START_SECONDS} s\n{_last_lines(folder)}")


def _kubeconfig(folder: Path, port: int, user: str, token: str) -> Path:
    authority = base64.b64encode((folder / "apiserver.crt").read_bytes()).decode()
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": authority}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        "current-context": "test",
    }
    path = folder / f"{user.rpartition(':')[2]}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _last_lines(folder: Path) -> str:
    return "\n".join(f"{log.name}:\n{log.read_text()[-2000:]}" for log in folder.glob("*.log"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the API server."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.apiserver)


def a_service(namespace: str, name: str = "studio", **spec: Any) -> Object:
    """The least an SDXLService has to say, and what a test adds to it."""
    least = {"model": {"source": "demo://shapes"}, "buckets": [{"width": 128, "height": 128}]}
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.SERVICE,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**least, **spec},
    }


def a_profile(name: str, **spec: Any) -> Object:
    """An AcceleratorProfile for plain CPUs, and what a test adds to it."""
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.PROFILE,
        "metadata": {"name": name},
        "spec": {"backend": "CPU", "image": "sdxl-runtime-cpu:test", **spec},
    }


def a_config_map(namespace: str, name: str = "notes", **data: str) -> Object:
    """The simplest child there is."""
    metadata = {"name": name, "namespace": namespace, "labels": dict(naming.MANAGED)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
