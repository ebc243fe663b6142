"""Closed loop and Poisson arrivals, energy counters, the table, the plot, the command line."""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sdxl_runtime import __main__ as program
from sdxl_runtime.bench import command, energy, plot, report
from sdxl_runtime.bench.client import Client
from sdxl_runtime.bench.load import Bound, Clock, closed, opened
from sdxl_runtime.bench.record import Record
from sdxl_runtime.bench.schedule import Mix, Workload, requests
from sdxl_runtime.bench.summary import summarise

WORKLOAD = Workload(Mix(("64x64",), (1.0,)))


class Server:
    """Answers after a while and remembers how many it had at once."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.now = self.most = self.count = 0

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.now += 1
        self.count += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.seconds)
        self.now -= 1
        return httpx2.Response(200, json={"data": [{"b64_json": "aa"}]})

    def client(self, clock: Clock) -> Client:
        return Client("http://server", clock, transport=httpx2.MockTransport(self))


async def test_a_closed_loop_keeps_so_many_under_way_and_ends_after_its_count() -> None:
    server, clock = Server(0.005), Clock()
    async with server.client(clock) as client:
        records = await closed(client, requests(WORKLOAD), clock, 3, Bound(requests=10), lambda record: None)
    assert [record.index for record in records] == list(range(10))
    assert server.most == 3
    assert all(record.ok for record in records)


async def test_a_closed_loop_sends_nothing_after_its_seconds() -> None:
    server, clock = Server(0.05), Clock()
    async with server.client(clock) as client:
        records = await closed(client, requests(WORKLOAD), clock, 2, Bound(seconds=0.12), lambda record: None)
    assert 2 <= len(records) <= 6
    assert all(record.due < 0.12 for record in records)


async def test_an_open_loop_does_not_wait_for_answers() -> None:
    server, clock = Server(0.3), Clock()
    async with server.client(clock) as client:
        plan = requests(WORKLOAD, rate=400.0)
        records = await opened(client, plan, clock, Bound(requests=20), lambda record: None)
    assert server.most == 20
    assert [record.due for record in records] == [planned.at for planned in islice(requests(WORKLOAD, 400.0), 20)]


async def test_an_open_loop_is_bounded_by_the_time_of_arrival() -> None:
    server, clock = Server(0.0), Clock()
    async with server.client(clock) as client:
        records = await opened(client, requests(WORKLOAD, 200.0), clock, Bound(seconds=0.1), lambda record: None)
    assert len(records) == sum(1 for planned in islice(requests(WORKLOAD, 200.0), 1000) if planned.at < 0.1)


async def test_a_closed_loop_that_is_stopped_waits_for_what_was_sent_and_sends_no_more() -> None:
    server, clock = Server(0.05), Clock()
    bound = Bound(seconds=60, stopped=lambda: server.count >= 6)
    async with server.client(clock) as client:
        records = await closed(client, requests(WORKLOAD), clock, 2, bound, lambda record: None)
    assert len(records) == server.count
    assert 6 <= len(records) <= 7
    assert all(record.ok for record in records)


async def test_an_open_loop_that_is_stopped_waits_for_what_was_sent_and_sends_no_more() -> None:
    server, clock = Server(0.05), Clock()
    bound = Bound(seconds=60, stopped=lambda: server.count >= 6)
    async with server.client(clock) as client:
        records = await opened(client, requests(WORKLOAD, 100.0), clock, bound, lambda record: None)
    assert len(records) == server.count >= 6
    assert all(record.ok and record.due < 10 for record in records)


class Answering(BaseHTTPRequestHandler):
    """One picture for each request."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"data": [{"b64_json": "aa"}]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Says nothing."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_load_early_and_its_results_are_written(number: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        words = ["bench", f"http://127.0.0.1:{server.server_port}", "--seconds", "600", "--json", str(path)]
        environment = {**os.environ, "PYTHONPATH": "runtime"}
        with subprocess.Popen([sys.executable, "-m", "sdxl_runtime", *words], env=environment) as process:
            time.sleep(4)  # seconds of it are Python's own start
            process.send_signal(number)
            assert process.wait(20) == 0
        server.shutdown()
    content = json.loads(path.read_text())
    assert content["summary"]["requests"] == content["summary"]["completed"] > 0


def test_a_run_needs_a_bound() -> None:
    with pytest.raises(ValueError, match="needs a bound"):
        Bound()


PAGE = """# TYPE node_rapl_package_joules_total counter
node_rapl_package_joules_total{index="0"} 1000.5
node_rapl_package_joules_total{index="1"} 10
# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0"} 5000
# TYPE power_watts gauge
power_watts 300
"""


def test_energy_counters_are_added_up_in_joules_and_power_is_none() -> None:
    found = energy.joules(PAGE)
    assert found == {"node_rapl_package_joules_total": 1010.5, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": 5.0}


def test_energy_of_a_counter_that_began_anew_is_not_told() -> None:
    before, after = {"a": 10.0, "b": 10.0, "c": 1.0}, {"a": 25.0, "b": 3.0}
    assert energy.spent(before, after) == {"a": 15.0}


def records() -> list[Record]:
    good = [Record(i, i * 0.5, i * 0.5 + 2, 200, images=1, evaluations=8, phases={"queue": 0.1}) for i in range(8)]
    return [*good, Record(8, 4.0, 4.01, 429, "rate_limit_exceeded"), Record(9, 4.0, 5.0, 500, "internal_error")]


def test_the_table_says_what_is_known_and_nothing_else() -> None:
    text = report.table(summarise(records(), deadline=3), {"node_rapl_package_joules_total": 80.0})
    assert "rejected         1 × 429" in text
    assert "failed           1 × internal_error" in text
    assert "goodput          1.455 images/s within 3 s" in text
    assert "energy           80 J, 10.0 J per image (node_rapl_package_joules_total)" in text
    plain = report.table(summarise(records()[:8]), {})
    assert not any(word in plain for word in ("rejected", "failed", "goodput", "energy", "preview"))


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    plot.write(path, "a server", records(), summarise(records(), 3))
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 10_000


def test_a_missing_matplotlib_is_said_before_any_load(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(SystemExit) as exit_:
        command.main(["http://127.0.0.1:9", "--plot", "x.png"])
    assert exit_.value.code == 2
    assert "--plot needs matplotlib, which is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["localhost"], "'localhost' is no URL"),
        (["http://h", "--rate", "0"], "0 is not above 0"),
        (["http://h", "--rate", "1", "--concurrency", "2"], "not allowed with"),
        (["http://h", "--concurrency", "0"], "0 is less than 1"),
        (["http://h", "--steps", "many"], "'many' is no int with a weight"),
        (["http://h", "--extra", "[1]"], "is not a JSON object"),
    ],
)
def test_a_wrong_argument_is_explained(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        program.main(["bench", *arguments])
    assert exit_.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_run_is_printed_and_written_without_the_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(options: argparse.Namespace) -> tuple[list[Record], dict[str, float]]:
        assert options.requests == 50
        return records(), {}

    monkeypatch.setattr(command, "run", run)
    path = tmp_path / "run.json"
    assert program.main(["bench", "http://h", "--api-key", "secret", "--steps", "8,16:2", "--json", str(path)]) == 0
    assert "throughput" in capsys.readouterr().out
    assert "secret" not in path.read_text()
    content: dict[str, Any] = json.loads(path.read_text())
    assert content["arguments"]["steps"] == {"8": 1.0, "16": 2.0}
    assert content["summary"]["completed"] == 8
    assert len(content["requests"]) == 10
    assert content["requests"][0]["latency"] == 2.0


def test_a_run_without_a_picture_exits_1(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(options: argparse.Namespace) -> tuple[list[Record], dict[str, float]]:
        return [Record(0, 0.0, 1.0, 500, "internal_error")], {}

    monkeypatch.setattr(command, "run", run)
    assert command.main(["http://h"]) == 1
