"""Field paths as in the API server's conflicts, e.g. `.spec.env[name="A"].value`, and leaving such a field out."""

import json
import re
from typing import Any

SELECTOR = re.compile(r'\[((?:"(?:[^"\\]|\\.)*"|[^\]"])*)\]')
PAIR = re.compile(r'([^=,]*)=("(?:[^"\\]|\\.)*"|[^,]*)(?:,|$)')


def remove(node: Any, path: str) -> bool:
    """Take the field at `path` out of an object, and say whether it was there."""
    if isinstance(node, dict) and path.startswith("."):
        return _remove_key(node, path)
    if isinstance(node, list) and path.startswith("["):
        return _remove_item(node, path)
    return False


def _remove_key(node: dict[str, Any], path: str) -> bool:
    # NB: keys are not quoted in a path, and a label's key has dots: the longest key that fits is the one
    for key in sorted(node, key=len, reverse=True):
        rest = path[len(key) + 1 :]
        if not path.startswith(f".{key}") or (rest and rest[0] not in ".["):
            continue
        if not rest:
            del node[key]
            return True
        if remove(node[key], rest):
            return True
    return False


def _remove_item(node: list[Any], path: str) -> bool:
    selector = SELECTOR.match(path)
    if selector is None:
        return False
    wanted = {name: json.loads(value) for name, value in PAIR.findall(selector[1])}
    rest = path[selector.end() :]
    for index, item in enumerate(node):
        matches = item == wanted[""] if "" in wanted else _has(item, wanted)
        if matches and not rest:
            del node[index]
            return True
        if matches:
            return remove(item, rest)
    return False


def _has(item: Any, wanted: dict[str, Any]) -> bool:
    return isinstance(item, dict) and all(item.get(name) == value for name, value in wanted.items())
