"""The parts of docs/ that are made from the code: `python -m dev.docs` writes them, `--check` says what differs.

A page has them between `<!-- generated: NAME -->` and `<!-- end -->`; the rest of the page is written by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dev import serving_reference
from sdxl_operator import crd
from sdxl_operator.api import KINDS, KindDefinition
from sdxl_operator.impact import IMPACTS, PROFILE_FIELDS, SERVICE_FIELDS, Cost
from sdxl_operator.naming import REASONS
from sdxl_operator.settings import PREFIX, OperatorSettings
from sdxl_runtime.protocol import EditRequest, GenerationRequest

DOCS = Path(__file__).resolve().parent.parent / "docs"
PART = re.compile(r"(<!-- generated: (?P<name>[-\w]+) -->\n).*?(<!-- end -->)", re.DOTALL)

Schema = Mapping[str, Any]


class UnknownPart(ValueError):
    """A page asks for a part that nothing makes."""


def written(page: str) -> str:
    """A page with each generated part as the code has it now.

    Raises:
        UnknownPart: a marker names something that is not in `PARTS`.
    """

    def part(match: re.Match[str]) -> str:
        if match["name"] not in PARTS:
            raise UnknownPart(f"{match['name']}; there are {', '.join(PARTS)}")
        return f"{match[1]}{PARTS[match['name']]().strip()}\n{match[3]}"

    return PART.sub(part, page)


def reasons() -> str:
    """A row for each reason with its sentence."""
    return table(("Reason", "What it says"), ((f"`{reason}`", sentence) for reason, sentence in REASONS.items()))


def settings() -> str:
    """A row for each variable of the operator."""
    rows = (
        (f"`{PREFIX}{name.upper()}`", _code(field.default), _cell(field.description or ""))
        for name, field in OperatorSettings.model_fields.items()
    )
    return table(("Variable", "Default", "What it says"), rows)


def reference() -> str:
    """Every field of every kind."""
    return "\n\n".join(_kind(kind) for kind in KINDS)


def generation_fields() -> str:
    """A row for each field of a generation, which edits have too."""
    return table(("Field", "Takes", "What it says"), serving_reference.fields(GenerationRequest))


def edit_fields() -> str:
    """A row for each field that only edits have."""
    return table(("Field", "Takes", "What it says"), serving_reference.fields(EditRequest, GenerationRequest))


def events() -> str:
    """A row for each event of a stream."""
    return table(("Event", "Members", "What it is"), serving_reference.events())


def metrics() -> str:
    """A row for each metric of a serving process."""
    return table(("Metric", "Kind", "Labels", "What it counts"), serving_reference.metrics())


def runtime_settings() -> str:
    """A row for each variable of the runtime."""
    return table(("Variable", "Default", "What it says"), serving_reference.environment())


def impacts() -> str:
    """A row for each class of an edit, from the least to the most."""
    return table(("Class", "What happens"), ((f"`{impact}`", sentence) for impact, sentence in IMPACTS.items()))


def service_edits() -> str:
    """A row for each field of a service, with what an edit of it costs."""
    return _costs(SERVICE_FIELDS)


def profile_edits() -> str:
    """A row for each field of a profile, with what its change costs a service."""
    return _costs(PROFILE_FIELDS)


def _costs(costs: Mapping[str, Cost]) -> str:
    rows = ((f"`{name}`", _classes(cost), _cell(cost.why)) for name, cost in costs.items())
    return table(("Field", "Class", "Why"), rows)


def _classes(cost: Cost) -> str:
    text = ", else ".join(f"`{impact}`" for impact in cost.impacts)
    return f"{text}; taken away: `{cost.removed}`" if cost.removed else text


PARTS: Mapping[str, Callable[[], str]] = {
    "reasons": reasons,
    "settings": settings,
    "reference": reference,
    "generation-fields": generation_fields,
    "edit-fields": edit_fields,
    "events": events,
    "metrics": metrics,
    "runtime-settings": runtime_settings,
    "impacts": impacts,
    "service-edits": service_edits,
    "profile-edits": profile_edits,
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _kind(kind: KindDefinition) -> str:
    schema = crd.definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    scope = "namespaced" if kind.namespaced else "cluster-scoped"
    names = ", ".join(f"`{name}`" for name in (kind.plural, *kind.short_names))
    parts = [f"## {kind.kind}", f"{kind.description} {scope.capitalize()}; `kubectl get` takes {names}."]
    for part in ("spec", "status"):
        if part in schema["properties"]:
            parts += [f"### {kind.kind} {part}", _fields(schema["properties"][part], part)]
    return "\n\n".join(parts)


def _fields(schema: Schema, path: str) -> str:
    text = table(("Field", "Type", "Default", "What it says"), _rows(schema, path))
    if rules := list(_rules(schema, path)):
        text += "\n\nRules:\n\n" + "\n".join(f"- `{where}`: {message}." for where, message in rules)
    return text


def _rows(schema: Schema, path: str) -> Iterator[Sequence[str]]:
    required = schema.get("required", ())
    for name, inner in schema.get("properties", {}).items():
        where = f"{path}.{name}"
        default = "required" if name in required else _code(inner.get("default", ""))
        shown = where.partition(".")[2]
        yield f"`{shown}`", _type(inner), default, _cell(inner.get("description", ""))
        yield from _rows(inner, where)
        yield from _rows(inner.get("items", {}), f"{where}[]")


def _rules(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield path, rule["message"].rstrip(".")
    for name, inner in schema.get("properties", {}).items():
        yield from _rules(inner, f"{path}.{name}")
    if "items" in schema:
        yield from _rules(schema["items"], f"{path}[]")


def _type(schema: Schema) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "quantity"
    if "enum" in schema:
        return " \\| ".join(f"`{value}`" for value in schema["enum"] if value != "")
    kind = schema.get("type", "")
    if kind == "array":
        return f"list of {_plural(_type(schema['items']))}"
    if kind == "object" and "additionalProperties" in schema:
        return f"map of {_plural(_type(schema['additionalProperties']))}"
    if kind == "integer" and "minimum" in schema and "maximum" in schema:
        return f"integer, {schema['minimum']} to {schema['maximum']}"
    return str(schema.get("format") or kind)


def _plural(kind: str) -> str:
    return {"quantity": "quantities", "string": "strings", "object": "objects"}.get(kind, kind)


def _code(value: Any) -> str:
    if value is None or value == "" or isinstance(value, (dict, list)):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the generated parts of docs/, or with `--check` say which pages differ and exit with 1."""
    parser = argparse.ArgumentParser(prog="python -m dev.docs", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page differs")
    options = parser.parse_args(arguments)
    pages = {path: path.read_text() for path in sorted(DOCS.glob("*.md"))}
    different = [path for path, page in pages.items() if written(page) != page]
    if not options.check:
        for path in different:
            path.write_text(written(pages[path]))
    elif different:
        print(f"{', '.join(path.name for path in different)} in docs/: run `make generate`", file=sys.stderr)
    return 1 if options.check and different else 0


if __name__ == "__main__":
    sys.exit(main())
