"""`python -m sdxl_operator.crd [FOLDER] [--check]`: write crds/, or say what in it differs from the models."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sdxl_operator.crd import files


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with `--check` compare them; 1 means that they differ."""
    parser = argparse.ArgumentParser(prog="python -m sdxl_operator.crd", description="CRDs from the models.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("crds"), help="where the files are (crds)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file differs")
    options = parser.parse_args(arguments)
    if options.check:
        return _check(options.folder)
    _write(options.folder)
    return 0


def _check(folder: Path) -> int:
    wanted, found = files(), {path.name: path.read_text() for path in folder.glob("*.yaml")}
    differing = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
    if differing:
        print(f"{', '.join(differing)} in {folder} differ; run `python -m sdxl_operator.crd`", file=sys.stderr)
    return 1 if differing else 0


def _write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    wanted = files()
    for stale in {path.name for path in folder.glob("*.yaml")} - wanted.keys():
        (folder / stale).unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    sys.exit(main())
