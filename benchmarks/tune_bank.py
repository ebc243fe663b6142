"""`make bench-bank`: what a tune bank brings, and what an edit costs that needs one; some parts on the local cluster.

`python -m benchmarks.tune_bank --only aot` runs a part alone. It exits 0 also where a figure is missed.
"""

import argparse
import shlex
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from benchmarks.banking import aot, downtime, first_picture, rollouts, second_service, shared_weights
from benchmarks.context import Context, say
from benchmarks.figures import RESULTS, Results
from benchmarks.runtime import ROOT, row, table

PARTS: Mapping[str, ModuleType] = {
    "aot": aot,
    "first_picture": first_picture,
    "shared_weights": shared_weights,
    "second_service": second_service,
    "rollouts": rollouts,
    "downtime": downtime,
}
"""In the order of the table. The last three need the cluster of `python -m dev.cluster up`, which they bring up."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for; returns 0."""
    options = _options(arguments)
    parts = {name: part for name, part in PARTS.items() if name in options.only}
    command = f"python -m benchmarks.tune_bank {shlex.join(sys.argv[1:] if arguments is None else arguments)}".strip()
    results = Results("bank", command, options.results)
    results.keep([name for part in PARTS.values() for name in part.NAMES])  # until it is measured anew
    context = _context(options)
    for name, part in parts.items():
        say(f"── {name}: {(part.__doc__ or '').splitlines()[0]}")
        began = time.monotonic()
        try:
            for figure in part.measure(context):  # written one by one: a run that is stopped keeps what it has
                results.add([figure])
                say(f"{row(figure)}   ({time.monotonic() - began:.0f} s)")
        except Exception as error:
            traceback.print_exc()
            say(f"{name} failed: {error}; what it did not measure stays as it was")
    print(table(results.figures()))
    print(f"written to {results.path}")
    return 0


def _context(options: argparse.Namespace) -> Context:
    from benchmarks import model  # torch and diffusers: seconds that `--help` does without

    root: Path = options.folder.resolve()
    root.mkdir(parents=True, exist_ok=True)
    return Context(root, model.ensure(root), None, options.rounds, 1.0, False)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART", help=f"of {', '.join(PARTS)}")
    add("--rounds", type=int, default=3, help="how often what takes seconds is repeated (3)")
    add("--folder", type=Path, default=ROOT / "build" / "bench", help="models, banks, logs (build/bench)")
    add("--results", type=Path, default=RESULTS, help="folder of bank.json (benchmarks/results)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
