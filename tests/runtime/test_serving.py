"""The serving process from outside: real sockets, real signals, the real `openai` client. On the simulated device."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx
import openai
import pytest
from PIL import Image

BUCKETS = [{"width": 128, "height": 128}, {"width": 96, "height": 160, "batch": 2}]


@dataclass
class Server:
    process: subprocess.Popen[str]
    url: str
    internal: str

    def readyz(self) -> httpx.Response:
        return httpx.get(f"{self.internal}/readyz")

    def load(self) -> dict[str, float]:
        load: dict[str, float] = httpx.get(f"{self.internal}/v1/load").json()
        return load

    def work(self) -> tuple[float, float, float]:
        """Seconds that are queued, requests in flight, requests that wait."""
        load = self.load()
        return load["queuedSeconds"], load["inFlight"], load["waiting"]

    def paint(self, **members: object) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/images/generations", json={"prompt": "x", **members}, timeout=60)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_no_answer_waits_for_the_clients_delayed_acknowledgement() -> None:
    from sdxl_runtime.serving import listening_socket

    with (
        listening_socket("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[Server]:
    ports = free_port(), free_port()
    settings = {
        "SDXL_BACKEND": "Simulated",
        "SDXL_MODEL_NAME": "studio",
        "SDXL_BUCKETS": json.dumps(BUCKETS),
        "SDXL_HOST": "127.0.0.1",
        "SDXL_PORT": str(ports[0]),
        "SDXL_INTERNAL_PORT": str(ports[1]),
        "SDXL_TERMINATION_LOG": str(folder / "termination-log"),
        **environment,
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sdxl_runtime", "serve"],
            env={**os.environ, "PYTHONPATH": "runtime", **settings},
            stderr=log,
            text=True,
        )
    server = Server(process, f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}")

    def listens() -> bool:
        try:
            return server.readyz().status_code > 0 or process.poll() is not None
        except httpx.TransportError:
            return process.poll() is not None

    try:
        wait_for(listens)
        yield server
    finally:
        process.kill()
        process.wait()


@contextmanager
def ready(folder: Path, **environment: str) -> Iterator[Server]:
    with serving(folder, **environment) as server:
        wait_for(lambda: server.readyz().status_code == 200)
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with ready(tmp_path_factory.mktemp("server"), SDXL_SIMULATED_MILLISECONDS="5") as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="none", base_url=f"{server.url}/v1", max_retries=0) as client:
        yield client


def test_the_openai_client_reads_pictures_seeds_and_details(client: openai.OpenAI) -> None:
    answer = client.images.generate(
        model="studio",
        prompt="a red circle",
        n=2,
        size="96x160",
        output_format="jpeg",
        quality="low",
        extra_body={"seed": 5, "guidance_scale": 3.5},
    )
    assert answer.data is not None
    for index, picture in enumerate(answer.data):
        assert picture.b64_json is not None
        with Image.open(BytesIO(base64.b64decode(picture.b64_json))) as image:
            assert (image.format, image.size) == ("JPEG", (96, 160))
        assert picture.model_extra == {"seed": 5 + index}
        assert picture.url is None
        assert picture.revised_prompt is None
    assert (answer.size, answer.output_format, answer.quality) == ("96x160", "jpeg", "low")
    assert answer.model_extra is not None
    assert answer.model_extra["sdxl"]["evaluations"] == {"executed": 30, "nominal": 30}
    assert abs(answer.created - time.time()) < 60


def test_the_openai_client_lists_the_model(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["studio"]
    assert client.models.retrieve("studio").owned_by == "sdxl-runtime"


def test_the_openai_client_raises_its_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.images.generate(prompt="x", size="64x64")
    assert (bad.value.param, bad.value.type) == ("size", "invalid_request_error")
    with pytest.raises(openai.NotFoundError) as missing:
        client.images.generate(prompt="x", model="dall-e-3")
    assert missing.value.code == "model_not_found"


async def test_the_asynchronous_openai_client_paints_too(server: Server) -> None:
    async with openai.AsyncOpenAI(api_key="none", base_url=f"{server.url}/v1", max_retries=0) as client:
        answer = await client.images.generate(prompt="x", extra_body={"num_inference_steps": 1})
    assert answer.data is not None
    assert len(answer.data) == 1


def test_concurrent_requests_are_all_answered(server: Server) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda seed: server.paint(seed=seed, num_inference_steps=3), range(24)))
    assert [answer.status_code for answer in answers] == [200] * 24
    assert [answer.json()["data"][0]["seed"] for answer in answers] == list(range(24))


def test_a_client_that_goes_away_frees_the_device(server: Server) -> None:
    body = json.dumps({"prompt": "x", "n": 10, "num_inference_steps": 150}).encode()
    head = f"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    address = server.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1]))) as connection:
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        wait_for(lambda: server.load()["inFlight"] == 1)
        assert server.load()["queuedSeconds"] > 3
    wait_for(lambda: server.work() == (0, 0, 0), seconds=2)
    wait_for(lambda: 'sdxl_requests_total{code="499"} 1.0' in httpx.get(f"{server.internal}/metrics").text, seconds=5)


def test_a_process_that_is_told_to_stop_finishes_what_it_accepted(tmp_path: Path) -> None:
    with ready(tmp_path) as server, ThreadPoolExecutor(2) as pool:
        accepted = [pool.submit(server.paint, num_inference_steps=50) for _ in range(2)]
        wait_for(lambda: server.work()[1:] == (1, 1))
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: server.readyz().json()["state"] == "Draining")
        assert server.readyz().status_code == 503
        assert httpx.get(f"{server.internal}/healthz").status_code == 200
        late = server.paint()
        assert (late.status_code, late.headers["Retry-After"]) == (503, "1")
        assert [answer.result().status_code for answer in accepted] == [200, 200]
        assert server.process.wait(10) == 0
        assert not (tmp_path / "termination-log").exists()


@pytest.mark.parametrize(
    ("signals", "timeout"), [(2, "60"), (1, "0.2")], ids=["told twice", "the drain takes too long"]
)
def test_a_process_that_cannot_finish_what_it_accepted_exits_1(tmp_path: Path, signals: int, timeout: str) -> None:
    with ready(tmp_path, SDXL_DRAIN_TIMEOUT_SECONDS=timeout) as server, ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(server.paint, n=10, num_inference_steps=150)
        wait_for(lambda: server.load()["inFlight"] == 1)
        for _ in range(signals):
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
        assert accepted.result().status_code == 503
        assert server.process.wait(10) == 1


def test_a_process_whose_device_is_lost_leaves_the_reason_and_exits_1(tmp_path: Path) -> None:
    """The kubelet restarts it; requests that were on the device are told, none hangs."""
    with ready(tmp_path, SDXL_SIMULATED_FAIL_AFTER="12") as server, ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(server.paint, num_inference_steps=9) for _ in range(4)]
        assert {answer.result().status_code for answer in answers} <= {500, 503}
        assert server.process.wait(20) == 1
    error = json.loads((tmp_path / "termination-log").read_text())["error"]
    assert "SDXL_SIMULATED_FAIL_AFTER" in error["message"]


def test_a_process_is_recycled_after_its_number_of_requests(tmp_path: Path) -> None:
    with ready(tmp_path, SDXL_RECYCLE_AFTER_REQUESTS="2") as server:
        assert [server.paint(num_inference_steps=1).status_code for _ in range(2)] == [200, 200]
        assert server.process.wait(20) == 0


def test_a_process_with_wrong_settings_says_so_and_exits_2(tmp_path: Path) -> None:
    with serving(tmp_path, SDXL_SIMULATED_MILLISECONDS="fast") as server:
        assert server.process.wait(60) == 2
    assert "SDXL_SIMULATED_MILLISECONDS is 'fast'; it must be a number" in (tmp_path / "log").read_text()


def test_a_process_whose_port_is_taken_says_so_and_exits_2(tmp_path: Path, server: Server) -> None:
    port = server.url.rsplit(":", 1)[1]
    with serving(tmp_path, SDXL_PORT=port) as second:
        assert second.process.wait(60) == 2
    assert f"port {port}" in (tmp_path / "log").read_text()


@pytest.mark.torch
def test_a_process_without_its_model_leaves_the_reason_and_exits_1(tmp_path: Path) -> None:
    missing = str(tmp_path / "nothing")
    with serving(tmp_path, SDXL_BACKEND="CPU", SDXL_MODEL_PATH=missing) as server:
        assert server.readyz().json()["state"] == "Loading"
        assert server.paint().status_code == 503
        assert server.process.wait(300) == 1
    error = json.loads((tmp_path / "termination-log").read_text())["error"]
    assert error["reason"] == "ModelMissing"
    assert missing in error["message"]
