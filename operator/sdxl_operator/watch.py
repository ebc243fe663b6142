"""Events of the API server turned into keys by kopf: decorators and nothing else.

kopf is the watcher here and not the state machine: `on.event` writes nothing to any object.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import kopf

from sdxl_operator import naming
from sdxl_operator.naming import Key, Object
from sdxl_operator.settings import OperatorSettings
from sdxl_operator.status import node_class
from sdxl_operator.workqueue import WorkQueue

log = logging.getLogger(__name__)

RECONCILED = ("sdxlservices", "sdxlmodels", "sdxltunebanks")
PROFILES = "acceleratorprofiles"
NODES = "nodes"
CHILDREN = (
    ("", "v1", "configmaps"),
    ("", "v1", "persistentvolumeclaims"),
    ("", "v1", "pods"),
    ("", "v1", "services"),
    ("apps", "v1", "controllerrevisions"),
    ("apps", "v1", "deployments"),
    ("batch", "v1", "jobs"),
    ("policy", "v1", "poddisruptionbudgets"),
)
MANAGED_SELECTOR = ",".join(f"{name}={value}" for name, value in naming.MANAGED.items())

Login = Callable[[], Awaitable[kopf.ConnectionInfo]]


def handlers(
    queue: WorkQueue[Key],
    profiles_changed: Callable[[], Awaitable[None]],
    login: Login,
    nodes_changed: Callable[[], Awaitable[None]] | None = None,
) -> kopf.OperatorRegistry:
    """What kopf calls: a custom resource's event adds its key, a child's event the keys of those it was made for.

    `nodes_changed` is called when nodes come or go, or change in what banks depend on; None: they may not be read.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return await login()

    async def changed(event: kopf.RawEvent, **_: Any) -> None:
        for key in naming.keys_of(event["object"]):
            queue.add(key)

    async def profile_changed(event: kopf.RawEvent, **_: Any) -> None:
        if event["type"] is not None:  # the first list: everything is reconciled at the start anyway
            await profiles_changed()

    shapes: dict[str, Object] = {}

    async def node_changed(event: kopf.RawEvent, **_: Any) -> None:
        name, first_list = event["object"]["metadata"]["name"], event["type"] is None
        before = shapes.pop(name, None)
        after = None if event["type"] == "DELETED" else node_class.shape(event["object"])
        if after is not None:
            shapes[name] = after
        if nodes_changed is not None and before != after and not (first_list and before is None):
            await nodes_changed()

    if nodes_changed is not None:
        kopf.on.event("", "v1", NODES, registry=registry)(node_changed)
    for plural in RECONCILED:
        kopf.on.event(naming.GROUP, naming.VERSION, plural, registry=registry)(changed)
    for group, version, plural in CHILDREN:
        kopf.on.event(group, version, plural, labels=naming.MANAGED, registry=registry)(changed)
    kopf.on.event(naming.GROUP, naming.VERSION, PROFILES, registry=registry)(profile_changed)
    return registry


def configured(settings: OperatorSettings) -> kopf.OperatorSettings:
    """kopf's own settings: no writes of its own, and only our children travel over the watches."""
    kopf_settings = kopf.OperatorSettings()
    kopf_settings.posting.enabled = False
    kopf_settings.peering.standalone = True
    # scanning watches all namespaces and CRDs for new ones, which takes rights of the whole cluster; ours are there
    # from the start
    kopf_settings.scanning.disabled = True
    kopf_settings.networking.request_timeout = settings.request_timeout_seconds
    kopf_settings.watching.connect_timeout = settings.request_timeout_seconds
    kopf_settings.process.ultimate_exiting_timeout = 3 * settings.stop_timeout_seconds + 30
    for group, version, plural in CHILDREN:
        kopf_settings.watching.label_selectors[group, version, plural] = MANAGED_SELECTOR
    return kopf_settings


async def watch(settings: OperatorSettings, registry: kopf.OperatorRegistry) -> None:
    """Watch until SIGTERM or SIGINT.

    NB: on its way out kopf cancels every asyncio task that began after this call; those that must outlive it, such as
    the workers, have to begin before.
    """
    host = f"[{settings.bind_address}]" if ":" in settings.bind_address else settings.bind_address
    health = f"http://{host}:{settings.health_port}/healthz" if settings.health_port else None
    await kopf.operator(
        registry=registry,
        settings=configured(settings),
        standalone=True,
        clusterwide=not settings.namespace,
        namespaces=[settings.namespace] if settings.namespace else [],
        liveness_endpoint=health,
    )
