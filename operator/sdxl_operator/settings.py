"""What the environment tells the operator: each field is the variable `SDXL_OPERATOR_` and its name in capitals."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

PREFIX = "SDXL_OPERATOR_"


RESERVED = re.compile(r"(SDXL_|LD_|PYTHON).*|HOME")
"""Variables of a fetch Job that are the operator's or the loader's own."""


def _variables(value: Any) -> Any:
    """The text of a variable as JSON, with names that a fetch Job may have."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError('it must be a JSON object like {"HTTPS_PROXY":"http://proxy:3128"}') from None
    for name in found if isinstance(found, dict) else ():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or RESERVED.fullmatch(name):
            raise ValueError(f"{name} is not for the admin to set; take it out")
    return found


class SettingsError(ValueError):
    """A variable cannot be read; the message names it, its value and what would be right."""


class OperatorSettings(BaseModel):
    """Validated settings of one operator process. Times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    namespace: str = ""
    """The one namespace to watch; empty: all of them."""
    workers: int = Field(default=4, ge=1, le=64)
    """How many keys are reconciled at the same time; one client does not get faster beyond about eight."""
    resync_seconds: int = Field(default=300, ge=5)
    """How often every custom resource is listed and reconciled, which makes a missed event harmless."""
    fetch_image: str = ""
    """The image that fetches models; empty: the image of the service's profile."""
    fetch_image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """The pull policy of the fetch image."""
    fetch_environment: Annotated[dict[str, str], BeforeValidator(_variables)] = {}
    """Variables of every fetch Job, as a JSON object: HTTPS_PROXY, NO_PROXY, HF_ENDPOINT, MODELSCOPE_ENDPOINT."""
    profiles_folder: Path | None = None
    """A folder of AcceleratorProfiles (`*.yaml`) to apply at the start; fields that an admin changed are left alone."""
    retention_grace_seconds: int = Field(default=600, ge=0)
    """How long a model or bank with `retention: Delete` stays after its last user is gone."""
    bind_address: str = "0.0.0.0"
    """The address of the health and metrics ports."""
    health_port: int = Field(default=8080, ge=0, le=65535)
    """The port of `/healthz`; 0: none."""
    metrics_port: int = Field(default=8081, ge=0, le=65535)
    """The port of `/metrics`; 0: none."""
    queries_per_second: float = Field(default=50, gt=0)
    """How many calls a second the API server gets at most, watches apart."""
    request_timeout_seconds: float = Field(default=30, gt=0)
    """How long one call to the API server may take."""
    stop_timeout_seconds: float = Field(default=10, ge=0)
    """How long turns that have begun may go on after SIGTERM."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """What is logged."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "OperatorSettings":
        """Read the `SDXL_OPERATOR_…` variables; an empty one counts as absent, and others are not looked at.

        Raises:
            SettingsError: a variable is unknown or cannot be read; the message names all such variables.
        """
        values = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(PREFIX) and value
        }
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(
                "; ".join(_sentence(problem["loc"], problem["msg"], values) for problem in error.errors())
            ) from None


def _sentence(location: tuple[int | str, ...], problem: str, values: Mapping[str, str]) -> str:
    name = str(location[0])
    if name not in OperatorSettings.model_fields:
        known = ", ".join(f"{PREFIX}{field.upper()}" for field in OperatorSettings.model_fields)
        return f"{PREFIX}{name.upper()} is not a setting; there are {known}"
    return f"{PREFIX}{name.upper()} is {values.get(name, '')!r}: {problem[:1].lower()}{problem[1:]}"
