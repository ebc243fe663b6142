"""What a compiled artefact depends on, as 16 hex digits: read inside the container, never computed by the operator."""

import hashlib
import json
import sys
from collections.abc import Mapping
from typing import Any, Protocol

from sdxl_runtime.bank.manifest import FORMAT
from sdxl_runtime.device import open_device
from sdxl_runtime.layout import check, measure
from sdxl_runtime.settings import Backend, Precision, Settings, SettingsError
from sdxl_runtime.termination import Failure


class Facts(Protocol):
    """The part of a device that the identity reads."""

    def dtype(self, precision: Precision) -> Any:
        """The format the UNet runs in; a bucket compiled in one does not serve another."""

    def facts(self) -> Mapping[str, str]:
        """Chip, driver, instruction set, exact versions, compile options."""


def identity(settings: Settings, device: Facts) -> tuple[str, dict[str, str]]:
    """The identity and the fields it is hashed over: sha256 over their sorted JSON, 16 hex digits of it.

    Raises:
        SettingsError: the device cannot run the precision.
        Failure: `ModelMissing` or `ModelInvalid`, where the digest has to be measured from the files.
    """
    fields = {
        **device.facts(),
        "manifestFormat": str(FORMAT),
        "model": _model_digest(settings),
        "variant": settings.model_variant,
        "backend": settings.backend.value,
        "compileMode": settings.compile_mode.value,
        "precision": _precision(settings, device),
    }
    return name_of(fields), dict(sorted(fields.items()))


def name_of(fields: Mapping[str, str]) -> str:
    """The identity that follows from its fields."""
    text = json.dumps(dict(fields), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def identify_main(settings: Settings) -> int:
    """Print `{"identity": …, "fields": {…}}`; exit code 2 with the sentence where the settings do not fit."""
    try:
        name, fields = identity(settings, open_device(settings))
    except (SettingsError, Failure) as error:
        print(json.dumps({"error": str(error)}), file=sys.stderr)
        return 2
    print(json.dumps({"identity": name, "fields": fields}))
    return 0


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """The fields in which two identities differ, as a user reads them: `torch 2.12.1 here, 2.11.0 there`."""
    names = sorted(name for name in {*here, *there} if here.get(name) != there.get(name))
    pairs = ((name, *(side.get(name, "absent") or "empty" for side in (here, there))) for name in names)
    return "; ".join(f"{name} {mine} here, {other} there" for name, mine, other in pairs)


def _precision(settings: Settings, device: Facts) -> str:
    if settings.backend is Backend.SIMULATED:  # which has no tensors to have a format
        return settings.precision.value
    return str(device.dtype(settings.precision)).removeprefix("torch.")


def _model_digest(settings: Settings) -> str:
    if settings.model_digest or settings.backend is Backend.SIMULATED:
        return settings.model_digest
    return measure(check(settings.model_path, settings.model_variant)).digest
