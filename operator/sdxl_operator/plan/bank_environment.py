"""What every container that uses a bank is told of it: where it is, and what is known of it outside."""

import json
from collections.abc import Mapping
from typing import Any

from sdxl_operator.naming import Object

COMPILED_PATH = "/bank/tune-bank"
IMPORTED_PATH = "/bank/imported"


def bank_path(spec: Mapping[str, Any]) -> str:
    """The root of a bank in its pods: on one volume, what was imported never meets what was compiled."""
    source = spec.get("from")
    return f"{IMPORTED_PATH}/{str(source).rpartition(':')[2][:16]}" if source else COMPILED_PATH


def bank_environment(name: str, spec: Mapping[str, Any]) -> Object:
    """Where the bank is; its name with the spec that it is a hash of, for `sdxl-runtime bank explain`."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    return {"SDXL_BANK_PATH": bank_path(spec), "SDXL_BANK_NAME": name, "SDXL_BANK_SPEC": text}
