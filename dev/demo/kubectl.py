"""kubectl and helm against one cluster, and nothing else that the demo would need a client library for."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dev.cluster.programs import HELM, ensure
from dev.shell import Failed, run

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "charts" / "sdxl-operator"
RELEASE = "sdxl-operator"
SYSTEM_NAMESPACE = "sdxl-system"


class Kubectl:
    """kubectl with one kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        program = shutil.which("kubectl", path=f"{kubeconfig.parent / 'bin'}:{os.environ.get('PATH', '')}")
        if program is None:
            raise Failed("kubectl is not installed: https://kubernetes.io/docs/tasks/tools/")
        self.program = program

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a program that talks to this cluster."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def run(self, *words: str, text_in: str | None = None, check: bool = True, timeout: float = 120) -> str:
        """Run kubectl; see `dev.shell.run`."""
        return run([self.program, *words], text_in=text_in, check=check, env=self.environment, timeout=timeout)

    def get(self, *words: str) -> dict[str, Any]:
        """`kubectl get … -o json`, empty where there is nothing of that name."""
        text = self.run("get", *words, "-o", "json", "--ignore-not-found")
        found: dict[str, Any] = json.loads(text) if text.strip() else {}
        return found

    def ensure_namespace(self, name: str) -> None:
        """Make a namespace that may be there already."""
        if not self.get("namespace", name):
            self.run("create", "namespace", name)

    @contextmanager
    def port_forward(self, namespace: str, target: str, port: int) -> Iterator[str]:
        """The address on this machine that leads to a port of a Service or pod, while the block runs."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            local = int(probe.getsockname()[1])
        words = [self.program, "-n", namespace, "port-forward", target, f"{local}:{port}"]
        process = subprocess.Popen(words, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            _wait_for_port(local, process)
            yield f"http://127.0.0.1:{local}"
        finally:
            process.terminate()
            process.communicate(timeout=10)


def _wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            assert process.stderr is not None
            raise Failed(f"kubectl port-forward ended: {process.stderr.read().decode().strip()}")
        time.sleep(0.1)
    raise Failed(f"kubectl port-forward did not open a port within {seconds:.0f} s")


def install_chart(kubectl: Kubectl, built: Mapping[str, str], *settings: str, chart: Path = CHART) -> None:
    """`helm upgrade --install` with the images that were built, and wait until the operator is up."""
    ensure([HELM])
    kubectl.ensure_namespace(SYSTEM_NAMESPACE)
    repository, _, tag = built["operator"].rpartition(":")
    values = {"image.repository": repository, "image.tag": tag}
    for profile in ("cpu", "simulated"):
        values[f"profiles.{profile}.spec.image"] = built["runtime"]
    words = [f"--set-string={name}={value}" for name, value in values.items()]
    words += [f"--set={setting}" for setting in settings]
    release = ["upgrade", "--install", RELEASE, str(chart), "--namespace", SYSTEM_NAMESPACE, *words]
    run([HELM.target, *release, "--wait", "--timeout", "180s"], env=kubectl.environment, timeout=240)


def uninstall_chart(kubectl: Kubectl) -> None:
    """`helm uninstall`; the CRDs stay, as the chart says."""
    ensure([HELM])
    words = ["uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--ignore-not-found", "--wait"]
    run([HELM.target, *words], env=kubectl.environment, timeout=180)
