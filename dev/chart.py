"""What the chart takes from the operator's models, and what it renders.

Taken are copies of crds/ and the profile part of values.schema.json: `python -m dev.chart` writes them, `--check` says
what differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dev.cluster.programs import HELM, KUBERNETES, ensure
from dev.shell import Failed
from sdxl_operator.api import ProfileSpec
from sdxl_operator.crd import structural

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "sdxl-operator"
CRDS = CHART / "files" / "crds"
SCHEMA = CHART / "values.schema.json"


def files() -> dict[Path, str]:
    """The text of each generated file of the chart."""
    copies = {CRDS / path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    return copies | {SCHEMA: values_schema()}


def values_schema() -> str:
    """values.schema.json with the profile part as the AcceleratorProfile has it; the rest is kept by hand."""
    schema = json.loads(SCHEMA.read_text())
    spec = strict(structural(ProfileSpec))
    spec["required"] = ["backend"]
    spec["properties"]["image"]["minLength"] = 0  # empty: the chart's own image for the backend
    schema["$defs"]["profileSpec"] = spec
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A structural schema as plain JSON schema, which refuses fields it does not know."""
    out: dict[str, Any] = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    if "properties" in out:
        out["properties"] = {name: strict(inner) for name, inner in out["properties"].items()}
        out["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if isinstance(out.get(key), dict):
            out[key] = strict(out[key])
    return out


def helm(command: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a helm command that needs no cluster, whatever it says; helm is built into the cache where it is missing."""
    ensure([HELM])
    # without a cluster helm assumes the Kubernetes that it was built for
    line = [HELM.target, command, "--kube-version", KUBERNETES, *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=120)


def template(*words: str | Path, namespace: str = "sdxl-system") -> list[dict[str, Any]]:
    """The objects of a release called `release`.

    Raises:
        Failed: helm refuses the values or the templates.
    """
    done = helm("template", "release", CHART, "--namespace", namespace, *words)
    if done.returncode != 0:
        raise Failed(f"helm cannot render the chart: {done.stderr}")
    return [document for document in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if document]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the chart's generated files, or with `--check` say which differ and exit with 1."""
    parser = argparse.ArgumentParser(prog="python -m dev.chart", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file differs")
    options = parser.parse_args(arguments)
    wanted = files()
    if options.check:
        found = {path: path.read_text() for path in [SCHEMA, *CRDS.glob("*")]}
        differ = [path for path in wanted | found if wanted.get(path) != found.get(path)]
        different = sorted(str(path.relative_to(ROOT)) for path in differ)
        if different:
            print(f"{', '.join(different)}: run `make generate`", file=sys.stderr)
        return 1 if different else 0
    CRDS.mkdir(parents=True, exist_ok=True)
    for path, text in wanted.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
