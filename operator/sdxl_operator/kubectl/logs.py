"""Which pods' logs a component of a service is. Pure."""

from collections.abc import Mapping
from typing import Any

from sdxl_operator import naming
from sdxl_operator.kubectl.errors import CommandError

COMPONENTS = ("server", "compile", "fetch")
PODS_AT_ONCE = 64


def arguments(
    service: Mapping[str, Any], bank: Mapping[str, Any] | None, component: str, *, follow: bool, tail: int
) -> list[str]:
    """The words after `kubectl` that show them, each line with its pod. `bank` is the one that is in use.

    Raises:
        CommandError: the service's status names nothing that has such pods.
    """
    selector = _selector(service, bank, component)
    line = [
        *("logs", f"--selector={selector}", f"--namespace={service['metadata']['namespace']}"),
        *("--prefix", f"--tail={tail}", f"--max-log-requests={PODS_AT_ONCE}"),
    ]
    return [*line, "--follow"] if follow else line


def _selector(service: Mapping[str, Any], bank: Mapping[str, Any] | None, component: str) -> str:
    name, status = service["metadata"]["name"], service.get("status") or {}
    part = f"{naming.COMPONENT}={component}"
    if component == "server":
        return f"{naming.SERVICE_LABEL}={name},{part}"
    if component == "compile":
        if not status.get("bank"):
            raise CommandError(f"--component is compile: {name} has no tune bank, so nothing is compiled for it")
        parts = [row["bank"] for row in ((bank or {}).get("status") or {}).get("nodeClasses") or []]
        return f"{naming.BANK_LABEL} in ({','.join([status['bank'], *parts])}),{part}"
    models = sorted({use.name for use in naming.model_uses(status)})
    if not models:
        raise CommandError(f"--component is fetch: the status of {name} names no model yet")
    return f"{naming.MODEL_LABEL} in ({','.join(models)}),{part}"
