"""CustomResourceDefinitions from the pydantic models, and what those in a cluster lack of them."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from sdxl_operator import naming
from sdxl_operator.api import KINDS, KindDefinition
from sdxl_operator.api.resource import Column, rules
from sdxl_operator.crd.structural import NotStructural, Schema, structural
from sdxl_operator.naming import Object

__all__ = [
    "HASH_ANNOTATION",
    "NotStructural",
    "definition",
    "files",
    "is_of_this_version",
    "missing_fields",
    "name_of",
    "structural",
]

HASH_ANNOTATION = f"{naming.GROUP}/schema-hash"
"""On each CRD: the hash of its schema, so that the operator knows at once whether it is the one it was built with."""

SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


def definition(kind: KindDefinition) -> Object:
    """The CustomResourceDefinition of a kind."""
    version = {"name": naming.VERSION, "served": True, "storage": True, **_version(kind)}
    names = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.singular,
        "shortNames": list(kind.short_names),
        "categories": list(kind.categories),
    }
    spec = {
        "group": naming.GROUP,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "names": names,
        "versions": [version],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name_of(kind), "annotations": {HASH_ANNOTATION: naming.digest(spec, 16)}},
        "spec": spec,
    }


def name_of(kind: KindDefinition) -> str:
    """The name of a kind's CustomResourceDefinition."""
    return f"{kind.plural}.{naming.GROUP}"


def files() -> dict[str, str]:
    """The text of each file of crds/, by its name."""
    header = "# Made by `python -m sdxl_operator.crd` from sdxl_operator/api: edit the models, not this file.\n"
    return {
        f"{kind.plural}.yaml": header
        + yaml.dump(definition(kind), Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)
        for kind in KINDS
    }


def missing_fields(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What of `wanted` a CRD in the cluster lacks: fields, values of enumerations (`field=value`), subresources.

    The API server drops such fields without a word, and refuses such values; a newer CRD has more, and lacks none. The
    schema itself is read, since the hash says nothing of a definition that was edited by hand.
    """
    version = wanted["spec"]["versions"][0]
    served = {one["name"]: one for one in live["spec"]["versions"] if one.get("served")}
    if version["name"] not in served:
        return [version["name"]]
    found = served[version["name"]]
    absent = [name for name in version.get("subresources", {}) if name not in found.get("subresources", {})]
    missing = _missing(_schema_of(found), _schema_of(version), "")
    return [*(f"the subresource {name}" for name in absent), *missing]


def is_of_this_version(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a CRD in the cluster says that it has the very schema of `wanted`, rules and defaults included."""
    annotations = live["metadata"].get("annotations") or {}
    return bool(annotations.get(HASH_ANNOTATION) == wanted["metadata"]["annotations"][HASH_ANNOTATION])


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def _version(kind: KindDefinition) -> Object:
    properties: Schema = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": structural(kind.spec),
    }
    subresources: Schema = {}
    if kind.status:
        properties["status"] = structural(kind.status, defaults=False)
        subresources["status"] = {}
    if kind.scale:
        subresources["scale"] = SCALE
    schema: Schema = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": properties,
        **(rules(kind.name_rule) if kind.name_rule else {}),
    }
    return {
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
        **({"subresources": subresources} if subresources else {}),
    }


def _column(column: Column) -> Object:
    shown = {"name": column.name, "type": column.type, "jsonPath": column.json_path, "description": column.description}
    return {**shown, "priority": column.priority} if column.priority else dict(shown)


def _schema_of(version: Mapping[str, Any]) -> Schema:
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def _missing(live: Schema, wanted: Schema, path: str) -> Iterator[str]:
    if live.get("x-kubernetes-preserve-unknown-fields"):
        return
    if "enum" in live:
        yield from (
            f"{path.removeprefix('.')}={value}" for value in wanted.get("enum", ()) if value not in live["enum"]
        )
    for name, inner in wanted.get("properties", {}).items():
        if name in live.get("properties", {}):
            yield from _missing(live["properties"][name], inner, f"{path}.{name}")
        else:
            yield f"{path}.{name}".removeprefix(".")
    for part in ("items", "additionalProperties"):
        if part in wanted:
            yield from _missing(live.get(part, {}), wanted[part], f"{path}[]")
