"""The command line of `sdxl-runtime bench`."""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from sdxl_runtime.bench import energy, plot, report
from sdxl_runtime.bench.client import Client, endpoint
from sdxl_runtime.bench.load import Bound, Clock, closed, opened
from sdxl_runtime.bench.record import Record
from sdxl_runtime.bench.schedule import (
    Mix,
    Workload,
    parse_guidances,
    parse_sizes,
    parse_steps,
    requests,
)
from sdxl_runtime.bench.summary import summarise

_DEFAULT_REQUESTS = 50
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main(arguments: Sequence[str]) -> int:
    """Load the server and print what came of it. 0: at least one picture came; 1: none did; 2: wrong arguments."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        _check(options)
    except (ValueError, plot.PlotUnavailable) as error:
        parser.error(str(error))
    started = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        records, joules = asyncio.run(run(options))
    except httpx2.HTTPError as error:
        parser.error(f"--metrics {options.metrics}: {error or type(error).__name__}")
    summary = summarise(records, options.deadline)
    print(report.table(summary, joules))
    if options.json is not None:
        content = report.to_json(_shown(options), started, summary, joules, records)
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    if options.plot is not None:
        plot.write(options.plot, options.url, records, summary)
    return 0 if summary.completed else 1


async def run(options: argparse.Namespace) -> tuple[list[Record], dict[str, float]]:
    """Warm up, then measure; the records of what was measured, and joules by counter."""
    clock, interrupted = Clock(), _Interruption()
    plan = requests(_workload(options), options.rate)
    async with Client(options.url, clock, options.api_key, options.timeout, options.stream) as client:
        if options.warmup:
            bound = Bound(options.warmup, stopped=interrupted)
            await closed(client, _warm_up(options), clock, min(options.warmup, options.concurrency), bound, _silent)
        before = await energy.read(options.metrics) if options.metrics else {}
        bound = Bound(options.requests, options.seconds, interrupted)
        clock.reset()
        progress = _Progress(options.requests) if sys.stderr.isatty() else _silent
        if options.rate is not None:
            records = await opened(client, plan, clock, bound, progress)
        else:
            records = await closed(client, plan, clock, options.concurrency, bound, progress)
        after = await energy.read(options.metrics) if options.metrics else {}
    return records, energy.spent(before, after)


class _Interruption:
    """Whether SIGINT or SIGTERM came: the load ends, and what was measured is told. A second one ends the program."""

    def __init__(self) -> None:
        self._came = False
        self._loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            self._loop.add_signal_handler(number, self._come)

    def __call__(self) -> bool:
        return self._came

    def _come(self) -> None:
        self._came = True
        for number in _SIGNALS:
            self._loop.remove_signal_handler(number)


def _workload(options: argparse.Namespace) -> Workload:
    return Workload(
        sizes=options.size,
        steps=options.steps,
        guidances=options.guidance,
        **({"prompts": options.prompt} if options.prompt else {}),
        extra=options.extra,
        seed=options.seed,
    )


def _warm_up(options: argparse.Namespace) -> Any:
    """The same mix, but other requests than those that are measured."""
    options = argparse.Namespace(**{**vars(options), "seed": options.seed + 1})
    return requests(_workload(options))


def _check(options: argparse.Namespace) -> None:
    endpoint(options.url)
    if options.requests is None and options.seconds is None:
        options.requests = _DEFAULT_REQUESTS
    if options.plot is not None:
        plot.require()  # before the load, not after it


def _shown(options: argparse.Namespace) -> dict[str, Any]:
    """The options as JSON, without the key."""
    shown = {name: value for name, value in vars(options).items() if name != "api_key"}
    return json.loads(json.dumps(shown, default=_plain))  # type: ignore[no-any-return]


def _plain(value: object) -> object:
    return dict(zip(map(str, value.values), value.weights, strict=True)) if isinstance(value, Mix) else str(value)


def _silent(record: Record) -> None:
    """Shows nothing."""


class _Progress:
    """A line that counts, on a terminal."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._done = 0

    def __call__(self, record: Record) -> None:
        self._done += 1
        total = f" of {self._total}" if self._total else ""
        print(f"\r{self._done}{total} answered", end="\n" if self._done == self._total else "", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sdxl-runtime bench",
        description="Load any OpenAI-compatible image endpoint, in a closed loop or with Poisson arrivals. "
        "SIGINT or SIGTERM ends the load early: what was sent is waited for, and the results are written.",
    )
    add = parser.add_argument
    add("url", help="of the server, e.g. http://127.0.0.1:8000")
    load = parser.add_argument_group("load")
    how = load.add_mutually_exclusive_group()
    how.add_argument("--concurrency", type=_from(1, int), default=1, help="closed loop: so many at any time (1)")
    how.add_argument("--rate", type=_above_0, help="open loop: Poisson arrivals, requests per second")
    load.add_argument("--requests", type=_from(1, int), help=f"so many ({_DEFAULT_REQUESTS} where nothing bounds it)")
    load.add_argument("--seconds", type=_above_0, help="send for so long; what was sent is waited for")
    load.add_argument("--warmup", type=_from(0, int), default=0, help="requests before, not measured (0)")
    load.add_argument("--timeout", type=_above_0, default=600, help="seconds a request may take (600)")
    load.add_argument("--stream", action="store_true", help="server-sent events with one partial image")
    load.add_argument("--api-key", default="", help="sent as a bearer token")
    _add_mix(parser.add_argument_group("requests; a mix is values with weights: 8,16:2,32"))
    out = parser.add_argument_group("results")
    out.add_argument("--deadline", type=_above_0, help="seconds of latency; goodput counts what came within")
    out.add_argument("--metrics", metavar="URL", help="a Prometheus page with energy counters of the server's device")
    out.add_argument("--json", type=Path, metavar="FILE", help="everything, each request included")
    out.add_argument("--plot", type=Path, metavar="FILE.png", help="latency over time and its distribution")
    return parser


def _add_mix(group: Any) -> None:
    group.add_argument("--size", type=_mix(parse_sizes), default="auto", help="WIDTHxHEIGHT (auto)")
    group.add_argument("--steps", type=_mix(parse_steps), help="num_inference_steps (the server's default)")
    group.add_argument("--guidance", type=_mix(parse_guidances), help="guidance_scale, also 1-9 (the server's default)")
    group.add_argument("--prompt", action="append", help="may be given several times")
    group.add_argument("--seed", type=_from(0, int), default=0, help="of the mix, the arrivals, the pictures (0)")
    group.add_argument("--extra", type=_object, metavar="JSON", help='members of every body: {"n": 2, "seed": null}')


def _mix(parse: Callable[[str], Mix[Any]]) -> Callable[[str], Mix[Any]]:
    def read(text: str) -> Mix[Any]:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _from(least: float, kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def number(text: str) -> Any:
        value = kind(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return value

    return number


def _above_0(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object")
    return value
