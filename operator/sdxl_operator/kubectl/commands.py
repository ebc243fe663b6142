"""The commands: each reads what it needs, and answers the lines to print."""

import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sdxl_operator import naming
from sdxl_operator.cluster import Cluster
from sdxl_operator.kubectl import listing, logs, reading, undo
from sdxl_operator.kubectl.errors import CommandError
from sdxl_operator.kubectl.overview import overview
from sdxl_operator.kubectl.preview import creation, preview
from sdxl_operator.kubectl.program import Kubectl
from sdxl_operator.kubectl.text import Style
from sdxl_operator.naming import Object, Ref

FIELD_MANAGER = "kubectl-sdxl-rollback"
"""Who changed a field that a rollback changed, in the object's managedFields."""


class EditedCluster(Cluster, Protocol):
    """A cluster in which people edit."""

    async def patch(self, ref: Ref, change: Object, manager: str) -> Object:
        """Merge `change` into an object as `manager`, None taking a field away, and return the live object."""


@dataclass(frozen=True, slots=True)
class Session:
    """What every command works with."""

    cluster: EditedCluster
    kubectl: Kubectl
    namespace: str
    style: Style
    now: datetime


async def status(session: Session, options: Namespace) -> list[str]:
    """One service on one screen."""
    service = await _service(session, options.name)
    return overview(service, await _bank(session, service), session.style, session.now)


async def banks(session: Session, options: Namespace) -> list[str]:
    """The tune banks."""
    found = await session.cluster.list(naming.API_VERSION, naming.BANK, _where(session, options))
    return listing.banks(found, session.style, session.now)


async def models(session: Session, options: Namespace) -> list[str]:
    """The models, refiners and adapters."""
    found = await session.cluster.list(naming.API_VERSION, naming.MODEL, _where(session, options))
    return listing.models(found, session.style, session.now)


async def show_logs(session: Session, options: Namespace) -> list[str]:
    """The logs, straight to the terminal."""
    service = await _service(session, options.name)
    bank, how = await _bank(session, service), {"follow": options.follow, "tail": options.tail}
    await session.kubectl.show(logs.arguments(service, bank, options.component, **how))
    return []


async def _bank(session: Session, service: Object) -> Object | None:
    name = (service.get("status") or {}).get("bank")
    return await session.cluster.get(_ref(session, naming.BANK, name)) if name else None


async def plan(session: Session, options: Namespace) -> list[str]:
    """What an apply of the file would cost, service by service."""
    edited = await _as_applied(session, options)
    lines: list[str] = []
    for service in edited:
        lines += [*([""] if lines else []), *await _planned(session, service)]
    return lines


async def rollback(session: Session, options: Namespace) -> list[str]:
    """Edit a service's spec back to what a stored revision froze."""
    service = await _service(session, options.name)
    known = await reading.known(session.cluster, service)
    target, change = undo.chosen(known.revisions, service["metadata"]["name"], reading.readable(service), options.to)
    name, to = session.style.bold(f"{session.namespace}/{options.name}"), undo.title(target)
    if not change:
        return [f"{name}: the spec is that of revision {to} already"]
    lines = await _previewed(session, known, undo.applied(service["spec"], change))
    if options.dry_run:
        return [*lines, "", f"{name}: nothing was changed; without --dry-run it goes back to revision {to}"]
    version = {"resourceVersion": service["metadata"]["resourceVersion"]}
    ref = _ref(session, naming.SERVICE, options.name)
    await session.cluster.patch(ref, {"metadata": version, "spec": change}, FIELD_MANAGER)
    return [*lines, "", f"{name}: rolled back to revision {to}"]


async def _planned(session: Session, edited: Object) -> list[str]:
    metadata = edited["metadata"]
    live = await session.cluster.get(Ref(naming.API_VERSION, naming.SERVICE, metadata["namespace"], metadata["name"]))
    if live is None:
        service = (await reading.known(session.cluster, edited)).resolved(edited["spec"])
        return creation(service, await reading.seen(session.cluster, edited, service), session.style)
    return await _previewed(session, await reading.known(session.cluster, live), edited["spec"])


async def _previewed(session: Session, known: reading.Known, spec: Mapping[str, Any]) -> list[str]:
    """From the live spec to this one; with remarks on what stands in the way of it."""
    after = known.resolved(spec)
    before, refusal = known.as_it_is(after)
    seen = await reading.seen(session.cluster, known.service, before, after)
    paused = f"It is paused by {naming.PAUSED_ANNOTATION}: nothing of this begins until that is removed."
    remarks = [known.remark, refusal, reading.objection(after, seen), paused if naming.is_paused(known.service) else ""]
    told = [remark for remark in remarks if remark]
    return [*preview(before, after, seen, session.style), *(["", *told] if told else [])]


async def _as_applied(session: Session, options: Namespace) -> Sequence[Object]:
    """The services in the file as the API server would have them after `kubectl apply`, which changes nothing here."""
    server_side = ["--server-side", f"--field-manager={options.field_manager}"] if options.server_side else []
    if options.server_side and options.force_conflicts:
        server_side.append("--force-conflicts")
    # NB: only where it was asked for: kubectl refuses a namespace that differs from the file's
    namespace = [f"--namespace={options.namespace}"] if options.namespace else []
    line = ["apply", "--dry-run=server", "--output=json", *namespace, *server_side, f"--filename={options.filename}"]
    printed = json.loads(await session.kubectl.read(line))
    found = printed["items"] if printed.get("kind") == "List" else [printed]
    services = [item for item in found if item.get("kind") == naming.SERVICE]
    if not services:
        raise CommandError(f"--filename is {options.filename}: there is no {naming.SERVICE} in it")
    return services


async def _service(session: Session, name: str) -> Object:
    service = await session.cluster.get(_ref(session, naming.SERVICE, name))
    if service is None:
        found = await session.cluster.list(naming.API_VERSION, naming.SERVICE, session.namespace)
        known = ", ".join(item["metadata"]["name"] for item in found) or "none"
        raise CommandError(f"namespace {session.namespace} has no {naming.SERVICE} {name!r}; there are: {known}")
    return service


def _ref(session: Session, kind: str, name: str) -> Ref:
    return Ref(naming.API_VERSION, kind, session.namespace, name)


def _where(session: Session, options: Namespace) -> str:
    return "" if options.all_namespaces else session.namespace
