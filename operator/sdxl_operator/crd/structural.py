"""pydantic's JSON schema turned into what the API server takes: a structural schema.

An optional field is one that may be absent, never null. Defaults stay, so that `kubectl` shows them and every client
sees the same; only empty ones go, since absent says the same. An object with defaults inside gets one itself, or those
inside would never apply. What has no structural counterpart is refused with its path.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

KEPT = frozenset(
    {"type", "format", "default", "enum", "pattern", "required"}
    | {"minimum", "maximum", "multipleOf", "minLength", "maxLength"}
    | {"minItems", "maxItems", "minProperties", "maxProperties"}
)
"""The keywords that mean the same in both; those that begin with x-kubernetes- pass too."""
DROPPED = frozenset({"title", "$defs"})
EMPTY: tuple[object, ...] = (None, "", [], {})


class NotStructural(ValueError):
    """A model uses something that a structural schema cannot say; the message has its path."""


def structural(model: type[BaseModel], *, defaults: bool = True) -> Schema:
    """The structural schema of a model; without `defaults` for a status, which says only what was observed.

    Raises:
        NotStructural: the model uses something that a structural schema cannot say.
    """
    schema = model.model_json_schema(by_alias=True)
    return _Walk(schema.get("$defs", {}), defaults).schema(schema, model.__name__, ())


class _Walk:
    def __init__(self, definitions: Mapping[str, Schema], defaults: bool) -> None:
        self._definitions = definitions
        self._defaults = defaults

    def schema(self, schema: Schema, path: str, within: tuple[str, ...]) -> Schema:
        """One schema and all below it; `within` names the models on the way, to notice one that contains itself."""
        schema, within = self._resolved(schema, path, within)
        if _is_int_or_string(schema):
            kept = {key: value for key, value in schema.items() if key in ("description", "default") or _extends(key)}
            return _in_order(kept | {"x-kubernetes-int-or-string": True})
        out: Schema = {}
        for keyword, value in schema.items():
            out |= self._keyword(keyword, value, schema, path, within)
        if out.get("type") == "number":
            raise NotStructural(f"{path}: a float; use percent, milli units or a decimal string")
        if "type" not in out and not any(map(_extends, out)):
            raise NotStructural(f"{path}: no type")
        if not self._defaults:
            out.pop("default", None)
        return _in_order(out)

    def _keyword(self, keyword: str, value: Any, schema: Schema, path: str, within: tuple[str, ...]) -> Schema:
        match keyword:
            case "properties":
                walked = {name: self.schema(inner, f"{path}.{name}", within) for name, inner in value.items()}
                may = {name for name in walked if self._defaults and name not in schema.get("required", ())}
                return {"properties": {name: _with_default(inner, name in may) for name, inner in walked.items()}}
            case "items":
                return {"items": self.schema(value, f"{path}[]", within)}
            case "additionalProperties" if isinstance(value, dict) and value:
                return {"additionalProperties": self.schema(value, f"{path}{{}}", within)}
            case "additionalProperties":  # false is the API server's own way: it prunes, or complains where asked to
                return {} if value is False else {"x-kubernetes-preserve-unknown-fields": True}
            case "const":
                return {"enum": [value]}
            case "exclusiveMinimum" if schema.get("type") == "integer":
                return {"minimum": value + 1}
            case "exclusiveMaximum" if schema.get("type") == "integer":
                return {"maximum": value - 1}
            case "description":
                return {"description": "\n".join(" ".join(part.split()) for part in value.split("\n\n"))}
            case _ if keyword in KEPT or _extends(keyword):
                return {keyword: value}
            case _ if keyword in DROPPED:
                return {}
        raise NotStructural(f"{path}: {keyword} has no structural counterpart")

    def _resolved(self, schema: Schema, path: str, within: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """Without references and without `or null`; what stands beside a reference wins over what is behind it."""
        while not _is_int_or_string(schema):
            members = schema.get("allOf") or [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
            if "$ref" in schema:
                name = schema["$ref"].removeprefix("#/$defs/")
                if name in within:
                    raise NotStructural(f"{path}: {name} contains itself")
                within = (*within, name)
                schema = _over(self._definitions[name], {key: schema[key] for key in schema if key != "$ref"})
            elif len(members) == 1:
                schema = _over(members[0], {key: schema[key] for key in schema if key not in ("anyOf", "allOf")})
            elif members:
                raise NotStructural(f"{path}: a union; use optional fields and a CEL rule for exactly one")
            else:
                break
        return schema, within


def _over(inner: Schema, outer: Schema) -> Schema:
    rules = "x-kubernetes-validations"
    both = {rules: [*inner[rules], *outer[rules]]} if rules in inner and rules in outer else {}
    return {**inner, **outer, **both}


def _with_default(schema: Schema, wanted: bool) -> Schema:
    """A property with the default it needs, and without one that says nothing."""
    default = schema.pop("default", {} if "properties" in schema else None)
    if wanted and "properties" in schema and default is not None:
        differing = _differing(default, schema)
        return schema | {"default": differing} if differing or _has_defaults(schema) else schema
    return schema if default in EMPTY else schema | {"default": default}


def _differing(default: Schema, schema: Schema) -> Schema:
    """What a default says beyond the defaults of the fields themselves."""
    out: Schema = {}
    for name, value in default.items():
        inner = schema["properties"][name]
        if isinstance(value, dict) and "properties" in inner:
            value = _differing(value, inner)
        if value not in EMPTY and value != inner.get("default"):
            out[name] = value
    return out


def _has_defaults(schema: Schema) -> bool:
    return "required" not in schema and any("default" in inner for inner in schema["properties"].values())


def _is_int_or_string(schema: Schema) -> bool:
    kinds = sorted(str(member.get("type")) for member in schema.get("anyOf", ()))
    return [kind for kind in kinds if kind != "null"] == ["integer", "string"]


def _extends(keyword: str) -> bool:
    return keyword.startswith("x-kubernetes-")


def _in_order(schema: Schema) -> Schema:
    first = {keyword: schema[keyword] for keyword in ("type", "description") if keyword in schema}
    return first | schema
