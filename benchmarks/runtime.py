"""`make bench-runtime`: the runtime against what one would write instead, side by side on this machine.

`python -m benchmarks.runtime --only poisson --rounds 1` runs a part alone. It exits 0 also where a figure is missed:
the table says so.
"""

import argparse
import os
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from benchmarks import bank
from benchmarks.context import BUCKETS, Context, say
from benchmarks.figures import RESULTS, Figure, Results
from benchmarks.parts import bits, cancel, compiles, concurrent, latents, memory, overload, poisson, preview, solo

ROOT = Path(__file__).resolve().parent.parent
PROCESSORS = 2
PARTS: Mapping[str, ModuleType] = {
    "solo": solo,
    "concurrent": concurrent,
    "poisson": poisson,
    "compiles": compiles,
    "bits": bits,
    "latents": latents,
    "cancel": cancel,
    "overload": overload,
    "preview": preview,
    "memory": memory,
}
"""In the order of the table."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for; returns 0, or 2 where a package is missing."""
    options = _options(arguments)
    parts = {name: part for name, part in PARTS.items() if name in options.only}
    missing = [name for name in ("litserve", "ray") if find_spec(name) is None]
    if missing and {"concurrent", "poisson"} & set(parts):
        print(f"{', '.join(missing)} not installed; `make bench-runtime` installs what it needs", file=sys.stderr)
        return 2
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSORS])  # and with it all that is started
    context = _context(options)
    command = f"python -m benchmarks.runtime {shlex.join(sys.argv[1:] if arguments is None else arguments)}".strip()
    results = Results("runtime", command, options.results)
    names = [name for part in PARTS.values() for name in part.NAMES]
    results.keep([name for name in names if not any(name in part.NAMES for part in parts.values())])
    for name, part in parts.items():
        say(f"── {name}: {(part.__doc__ or '').splitlines()[0]}")
        began = time.monotonic()
        figures = _figures(name, part.measure, part.NAMES, context)
        results.add(figures)
        print(file=sys.stderr)
        for figure in figures:
            say(f"{row(figure)}   ({time.monotonic() - began:.0f} s)")
    print(table(results.figures()))
    print(f"written to {results.path}")
    return 0


def table(figures: Sequence[Mapping[str, object]]) -> str:
    """One line for each figure: its name, what it must be, what it is."""
    lines = [f"{'figure':58} {'must':>8}  {'is':>9}"]
    for figure in figures:
        value = "—" if figure["value"] is None else f"{figure['value']:g}"
        state = {True: "met", False: "MISSED", None: "not measured"}[figure["met"]]  # type: ignore[index]
        lines.append(f"{figure['name']:58} {figure['must']:>8}  {value:>9} {figure['unit']} · {state}")
    return "\n".join(lines)


def row(figure: Figure) -> str:
    """A figure in a line."""
    value = "—" if figure.value is None else f"{figure.value:g} {figure.unit}"
    return f"{figure.name}: {value} (must be {figure.must}){': ' + figure.note if figure.note else ''}"


def _figures(
    name: str, measure: Callable[[Context], list[Figure]], names: Sequence[str], context: Context
) -> list[Figure]:
    """What a part measured; one that fails does not take the others with it, and leaves no figure."""
    try:
        return measure(context)
    except Exception as error:
        traceback.print_exc()
        say(f"{name} failed: {error}; its figures ({', '.join(names)}) stay as they were")
        return []


def _context(options: argparse.Namespace) -> Context:
    from benchmarks import model  # torch and diffusers: seconds that `--help` does without

    root: Path = options.folder.resolve()
    root.mkdir(parents=True, exist_ok=True)
    folder = model.ensure(root)
    banked = None
    if not options.eager:
        say("the tune bank: minutes for each bucket the first time")
        banked = bank.fill(root, folder, BUCKETS)
    return Context(root, folder, banked, options.rounds, options.scale, options.compiled)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART", help=f"of {', '.join(PARTS)}")
    add("--rounds", type=int, default=3, help="how often systems take turns (3)")
    add("--scale", type=float, default=1.0, help="share of the requests of each part (1), for a quick look")
    add("--compiled", action="store_true", help="also measure each peer with its UNet compiled by torch.compile")
    add("--eager", action="store_true", help="run the runtime without a tune bank")
    add("--folder", type=Path, default=ROOT / "build" / "bench", help="models, banks, logs (build/bench)")
    add("--results", type=Path, default=RESULTS, help="folder of runtime.json (benchmarks/results)")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or not 0 < options.scale <= 1:
        parser.error("--rounds must be at least 1, --scale above 0 and at most 1")
    return options


if __name__ == "__main__":
    sys.exit(main())
