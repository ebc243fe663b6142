"""docs/benchmarks.md from the results: `python -m benchmarks.page` writes it and its plots, `--check` compares."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import charts
from benchmarks.figures import RESULTS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
PICTURES = ROOT / "docs" / "pictures" / "benchmarks"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
MARKS: Mapping[str, tuple[str, str]] = {
    "runtime": (BEGIN, END),
    "bank": ("<!-- results of the bank: begin -->", "<!-- results of the bank: end -->"),
}
"""By the name of the file of results: between what the page has them."""

JSON = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page's results and draw the plots; with `--check`, return 1 where the text differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page is not up to date")
    parser.add_argument("--no-plots", action="store_true", help="write the text only, which needs no matplotlib")
    options = parser.parse_args(arguments)
    paths = {name: RESULTS / f"{name}.json" for name in MARKS}
    results: dict[str, JSON] = {name: json.loads(path.read_bytes()) for name, path in paths.items() if path.is_file()}
    page = new = PAGE.read_text()
    for name, found in results.items():
        new = replaced(new, section(found), MARKS[name])
    if options.check:
        if new != page:
            print(f"{PAGE} is not what `python -m benchmarks.page` writes", file=sys.stderr)
        return int(new != page)
    PAGE.write_text(new)
    if "runtime" in results and not options.no_plots:
        charts.draw(results["runtime"], PICTURES)
    return 0


def replaced(page: str, text: str, marks: tuple[str, str] = MARKS["runtime"]) -> str:
    """The page with what is between two marks replaced.

    Raises:
        ValueError: the page lacks the marks.
    """
    before, begin, rest = page.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise ValueError(f"the page lacks {marks[0]} or {marks[1]}")
    return f"{before}{begin}\n{text.strip()}\n{end}{after}"


def section(results: JSON) -> str:
    """Machine, table, plots, and what each figure was compared with."""
    parts = [
        _circumstances(results),
        _table(results["figures"]),
        *_plots(results),
        "### What stands behind each figure",
    ]
    parts += [_behind(figure, results) for figure in results["figures"]]
    return "\n\n".join(parts)


def _circumstances(results: JSON) -> str:
    machine = results["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    chip = f"{machine['processors']} processors of {machine['chip']}, {machine['memoryGiB']} GiB"
    return (
        f"Measured {results['date']} on {chip}, load average {machine['loadAverageBefore']} before it began, by\n\n"
        f"```console\n{results['command']}\n```\n\nwith {packages}."
    )


def _table(figures: Sequence[JSON]) -> str:
    rows = ["| Figure | must | is | |", "|---|---|---|---|"]
    for figure in figures:
        value = "not measured" if figure["value"] is None else f"{figure['value']:g} {figure['unit']}"
        state = {True: "met", False: "**missed**", None: ""}[figure["met"]]
        rows.append(f"| {figure['name']} | {figure['must']} | {value} | {state} |")
    return "\n".join(rows)


def _plots(results: JSON) -> list[str]:
    return [
        f"![{title}](pictures/benchmarks/{name}.png)"
        for name, title, figure in charts.PLOTS
        if charts.found(results, figure) is not None
    ]


def _behind(figure: JSON, results: JSON) -> str:
    """A figure's heading, its note, when it was measured where that differs, and all that was measured with it."""
    lines = [f"**{figure['name']}**"]
    if figure.get("note"):
        lines.append(f"{figure['note'][0].upper()}{figure['note'][1:]}.")
    if "measured" in figure and figure["measured"]["date"] != results["date"]:
        lines.append(f"Measured {figure['measured']['date']} by `{figure['measured']['command']}`.")
    lines.append("\n".join(f"- {name}: {_shown(value)}" for name, value in figure["peers"].items()))
    return "\n\n".join(line for line in lines if line)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(_shown(inner) for inner in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
