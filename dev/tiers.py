"""The tests tier by tier, cheapest first: `python -m dev.tiers unit charts` runs these two and says how long each took.

Without names, everything of `make test` in order. It stops at the first tier that fails; the summary says what was run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

Command = tuple[str, ...]

PYTEST = ("-m", "pytest", "-q")
BESIDE = ("-n", "auto", "--maxprocesses=4", "--dist=worksteal")
"""As many processes as processors, and not more than memory has room for where each loads torch."""


@dataclass(frozen=True, kw_only=True)
class Tier:
    """Commands, each the words after `python`, that are one step of the ladder."""

    name: str
    about: str
    commands: tuple[Command, ...]
    every_change: bool = True
    """Whether it is part of `make test`."""


TIERS = (
    Tier(
        name="lint",
        about="ruff: style and format",
        commands=(("-m", "ruff", "check", "."), ("-m", "ruff", "format", "--check", ".")),
    ),
    Tier(name="types", about="mypy, strict", commands=(("-m", "mypy"),)),
    Tier(
        name="contracts",
        about="import-linter: who may import whom",
        commands=(("-c", "import sys; from importlinter.cli import lint_imports_command as run; sys.exit(run())"),),
    ),
    Tier(
        name="unit",
        about="everything that needs nothing but Python",
        commands=(
            (
                *PYTEST,
                *BESIDE,
                "tests/operator",
                "tests/runtime",
                "tests/dev",
                "tests/documents",
                "-m",
                "not long and not cluster",
            ),
        ),
    ),
    Tier(
        name="conformance",
        about="the suite that every backend passes over HTTP: on the simulated device, and on the CPU",
        commands=((*PYTEST, "tests/conformance", "-m", "not long"),),
    ),
    Tier(
        name="page",
        about="the page in a real Chromium",
        commands=((*PYTEST, "tests/page", "-m", "not long"),),
    ),
    Tier(
        name="contract",
        about="what operator and runtime agree on, held against both",
        commands=((*PYTEST, "tests/contract", "-m", "not long"),),
    ),
    Tier(
        name="charts",
        about="the chart: linted, rendered, read",
        commands=((*PYTEST, *BESIDE, "tests/charts", "-m", "not long"),),
    ),
    Tier(
        name="apiserver",
        about="a real API server with etcd on loopback",
        commands=((*PYTEST, "tests/apiserver", "-m", "not long"),),
    ),
    Tier(
        name="e2e",
        about="a real cluster, real images, the chart: the whole life of a service",
        commands=(
            ("-m", "dev.cluster", "up"),
            ("-m", "dev.images", "--load"),
            (*PYTEST, "tests/dev", "tests/e2e", "tests/ascend", "-m", "cluster and not long"),
        ),
    ),
    Tier(
        name="long",
        about="what takes longer: a failure before and after every single write",
        commands=(
            ("-m", "dev.cluster", "up"),
            ("-m", "dev.images", "--load"),
            (*PYTEST, "tests", "-m", "long"),
        ),
        every_change=False,
    ),
)


@dataclass(frozen=True)
class Result:
    """How one tier went."""

    tier: Tier
    passed: bool
    seconds: float
    counts: str
    """What pytest counted, e.g. `151 passed in 31.33s`; else empty."""

    def __str__(self) -> str:
        outcome = "ok    " if self.passed else "FAILED"
        return f"{self.tier.name:<10} {outcome} {self.seconds:7.1f} s  {self.counts}".rstrip()


def run(tier: Tier) -> Result:
    """Run a tier's commands, showing what they print; the first that fails ends it."""
    began, counts = time.monotonic(), ""
    print(f"\n== {tier.name}: {tier.about}", flush=True)
    for command in tier.commands:
        code, said = _show([sys.executable, *command])
        counts = said or counts
        if code != 0:
            return Result(tier, False, time.monotonic() - began, counts)
    return Result(tier, True, time.monotonic() - began, counts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tiers that are named, or all of `make test`."""
    names = [tier.name for tier in TIERS]
    parser = argparse.ArgumentParser(prog="python -m dev.tiers", description=main.__doc__)
    parser.add_argument("tiers", nargs="*", metavar="tier", help=", ".join(names))
    chosen = parser.parse_args(arguments).tiers
    if unknown := set(chosen) - set(names):
        parser.error(f"there is no tier {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    wanted = [tier for tier in TIERS if (tier.name in chosen if chosen else tier.every_change)]
    results: list[Result] = []
    for tier in wanted:
        results.append(run(tier))
        print(results[-1], flush=True)
        if not results[-1].passed:
            break
    if len(wanted) > 1:
        print(summary(results, wanted), flush=True)
    return 0 if all(result.passed for result in results) else 1


def summary(results: Sequence[Result], wanted: Sequence[Tier]) -> str:
    """A line for each tier, those that were not reached included."""
    lines = [str(result) for result in results]
    lines += [f"{tier.name:<10} not run" for tier in wanted[len(results) :]]
    total = sum(result.seconds for result in results)
    return "\n".join(["", "== summary", *lines, f"{'total':<17} {total:7.1f} s"])


def _show(argv: Sequence[str]) -> tuple[int, str]:
    """Run a program, pass on its lines, and return its exit code and pytest's last count."""
    counts = ""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if " in " in line and any(word in line for word in (" passed", " failed", " error")):
                counts = line.strip().strip("= ")
    return process.returncode, counts


if __name__ == "__main__":
    sys.exit(main())
