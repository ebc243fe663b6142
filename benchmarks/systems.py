"""What is measured, each in a process of its own on loopback: start, wait until it is ready, stop."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks import bank
from benchmarks.context import SIZE
from sdxl_runtime.buckets import Bucket

ROOT = Path(__file__).resolve().parent.parent
OURS, BARE, ONE_LOCK, LITSERVE, RAY = "sdxl-runtime", "bare loop", "one lock", "LitServe", "Ray Serve"
COMPILED = " compiled"
"""Ends the name of a peer whose UNet is compiled by torch.compile."""
_PEERS = {ONE_LOCK: "one_lock", LITSERVE: "litserve_server", RAY: "ray_server"}
_READY_SECONDS = 900
"""A peer that compiles does so before it is ready."""
_STOP_SECONDS = 30


@dataclass(slots=True)
class Running:
    """A server that answers."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    log: Path
    internal: str = ""
    """Of the runtime: the URL of its internal port."""
    buckets: list[Mapping[str, Any]] = field(default_factory=list)
    """Of the runtime: the table of `/readyz`."""

    def get(self, path: str) -> bytes:
        """An answer of the runtime's internal port."""
        with urllib.request.urlopen(f"{self.internal}{path}", timeout=30) as response:
            content: bytes = response.read()
        return content


@contextmanager
def others_stopped(measured: Running, servers: Sequence[Running]) -> Iterator[None]:
    """While one is measured, the processes of all others stand still.

    What LitServe's and Ray's do while they are idle takes a quarter of two cores, and slows everybody else down by
    half: a thread that is put off keeps its team waiting at the end of every kernel.
    """
    others = [process for server in servers if server is not measured for process in _family(server.process.pid)]
    _signal(others, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(others, signal.SIGCONT)


def _family(process: int) -> list[psutil.Process]:
    """A process and all below it."""
    first = psutil.Process(process)
    return [first, *first.children(recursive=True)]


def _signal(processes: Sequence[psutil.Process], number: int) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


class BareLoop:
    """The loop without a server; `seconds` of one picture at a time."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def seconds(self, body: Mapping[str, object]) -> float:
        """Paint one picture."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(body).encode() + b"\n")
        self._process.stdin.flush()
        return float(self._read()["seconds"])

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the bare loop ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def bare_loop(model: Path, logs: Path, compiled: bool = False) -> Iterator[BareLoop]:
    """The bare loop, ready."""
    with (logs / "bare.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.bare", str(model), str(SIZE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_environment({"BENCH_COMPILE": "1"} if compiled else {}),
            cwd=ROOT,
        )
    loop = BareLoop(process)
    try:
        loop._read()
        yield loop
    finally:
        _stop(process)


@contextmanager
def peer(name: str, model: Path, logs: Path) -> Iterator[Running]:
    """One of the servers that the runtime is compared with, ready."""
    module = f"benchmarks.peers.{_PEERS[name.removesuffix(COMPILED)]}"
    port = free_port()
    changes = {"BENCH_COMPILE": "1"} if name.endswith(COMPILED) else {}
    command = [sys.executable, "-m", module, str(model), str(SIZE), str(port)]
    with _process(name, command, _environment(changes), logs) as (process, log):
        running = Running(name, f"http://127.0.0.1:{port}", process, log)
        body = {"prompt": "ready?", "size": f"{SIZE}x{SIZE}", "num_inference_steps": 1, "guidance_scale": 1.0}
        _wait(running, f"{running.url}/v1/images/generations", json.dumps(body).encode())
        yield running


@contextmanager
def ours(
    model: Path,
    buckets: Sequence[Bucket],
    logs: Path,
    banked: bank.Filled | None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """`sdxl-runtime serve`, ready; eager where there is no bank."""
    port, internal = free_port(), free_port()
    environment = {
        "SDXL_BACKEND": "CPU",
        "SDXL_MODEL_PATH": str(model),
        "SDXL_BUCKETS": json.dumps([bucket.to_json() for bucket in buckets]),
        "SDXL_HOST": "127.0.0.1",
        "SDXL_PORT": str(port),
        "SDXL_INTERNAL_PORT": str(internal),
        "SDXL_TERMINATION_LOG": str(logs / "termination.json"),
        "SDXL_QUEUE_LIMIT_SECONDS": "100000",
        "SDXL_REQUEST_TIMEOUT_SECONDS": "100000",
        **(banked.environment() if banked else {}),
        **(settings or {}),
    }
    command = [sys.executable, "-m", "sdxl_runtime", "serve"]
    with _process(OURS, command, _environment(environment), logs) as (process, log):
        running = Running(OURS, f"http://127.0.0.1:{port}", process, log, f"http://127.0.0.1:{internal}")
        _wait(running, f"{running.internal}/readyz")
        running.buckets = json.loads(running.get("/readyz"))["buckets"]
        yield running


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def resident_bytes(process: int) -> int:
    """Memory of a process that is in RAM, as `ps` tells it."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def _process(
    name: str, command: Sequence[str], environment: Mapping[str, str], logs: Path
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    log = logs / f"{name.replace(' ', '-')}-{time.time_ns() // 1_000_000}.log"  # two of a kind may run at once
    with log.open("wb") as file:
        # a session of its own: a server's children end with it
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, cwd=ROOT, start_new_session=True)
    try:
        yield process, log
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.pid == _group(process.pid):
        os.killpg(process.pid, signal.SIGKILL)


def _group(process: int) -> int:
    """The group that a process leads while any of its children lives; 0 where there is none."""
    try:
        os.killpg(process, 0)
    except (ProcessLookupError, PermissionError):
        return 0
    return process


def _wait(running: Running, url: str, body: bytes | None = None) -> None:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"} if body else {})
    ends = time.monotonic() + _READY_SECONDS
    while time.monotonic() < ends:
        if running.process.poll() is not None:
            raise RuntimeError(f"{running.name} ended with {running.process.returncode}; see {running.log}")
        try:
            with urllib.request.urlopen(request, timeout=_READY_SECONDS):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise RuntimeError(f"{running.name} was not ready within {_READY_SECONDS} s; see {running.log}")


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SDXL_")}
    paths = [str(ROOT / "runtime"), str(ROOT), *filter(None, [inherited.get("PYTHONPATH")])]
    return {
        **inherited,
        "PYTHONPATH": os.pathsep.join(paths),
        "TORCHINDUCTOR_CACHE_DIR": str(ROOT / "build" / "bench" / "inductor"),
        **changes,
    }
