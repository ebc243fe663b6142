"""The wiring from an event to a key, by kopf against an emulated API server. What events mean is not tested here."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import kmock as emulated
import kopf
import pytest

from sdxl_operator import naming
from sdxl_operator.naming import BANK, MODEL, PROFILE, SERVICE, Key, Object
from sdxl_operator.settings import OperatorSettings
from sdxl_operator.watch import CHILDREN, NODES, PROFILES, RECONCILED, configured, handlers
from sdxl_operator.workqueue import WorkQueue

KINDS = {"sdxlservices": SERVICE, "sdxlmodels": MODEL, "sdxltunebanks": BANK, PROFILES: PROFILE}
SETTINGS = OperatorSettings(health_port=0)


class Operator:
    """What a running watch did: the keys it added, and how often profiles changed."""

    def __init__(self) -> None:
        self.queue: WorkQueue[Key] = WorkQueue()
        self.profile_changes = 0
        self.node_changes = 0
        self.profile_changed = asyncio.Event()

    async def on_profile(self) -> None:
        self.profile_changes += 1
        self.profile_changed.set()

    async def on_nodes(self) -> None:
        self.node_changes += 1

    async def keys(self, count: int) -> set[Key]:
        """The next keys; each ends its turn at once."""
        found: set[Key] = set()
        async with asyncio.timeout(10):
            while len(found) < count:
                key = await self.queue.take()
                assert key is not None
                self.queue.done(key)
                found.add(key)
        return found


def declare(server: Any) -> None:
    """The kinds that are watched, and the two that kopf itself looks for."""
    described = [("", "v1", "namespaces", False), ("apiextensions.k8s.io", "v1", "customresourcedefinitions", False)]
    described += [(*child, True) for child in CHILDREN] + [("", "v1", NODES, False)]
    described += [(naming.GROUP, naming.VERSION, plural, plural != PROFILES) for plural in KINDS]
    for group, version, plural, namespaced in described:
        server.resources[f"{group}/{version}/{plural}".lstrip("/")] = {
            "kind": KINDS.get(plural, plural.title()),
            "singular": plural.removesuffix("s"),
            "namespaced": namespaced,
            "verbs": {"get", "list", "watch", "patch"},
        }


@asynccontextmanager
async def watching(server: Any, settings: OperatorSettings = SETTINGS, nodes: bool = False) -> AsyncIterator[Operator]:
    """kopf with our handlers, until the test is done with it."""
    declare(server)
    operator, ready, stop = Operator(), asyncio.Event(), asyncio.Event()

    async def login() -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=str(server.url))

    task = asyncio.create_task(
        kopf.operator(
            registry=handlers(operator.queue, operator.on_profile, login, operator.on_nodes if nodes else None),
            settings=configured(settings),
            standalone=True,
            clusterwide=not settings.namespace,
            namespaces=[settings.namespace] if settings.namespace else [],
            ready_flag=ready,
            stop_flag=stop,
        )
    )
    await asyncio.wait_for(ready.wait(), 10)
    try:
        yield operator
    finally:
        stop.set()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)


def an_object(plural: str, name: str, namespace: str = "team", **labels: str) -> Object:
    metadata: Object = {"name": name, "uid": f"uid-{name}", "resourceVersion": "1", "labels": labels}
    if plural != PROFILES:
        metadata["namespace"] = namespace
    return {"apiVersion": naming.API_VERSION, "kind": KINDS[plural], "metadata": metadata, "spec": {}}


def a_child(kind: str, name: str, **labels: str) -> Object:
    metadata = {"name": name, "namespace": "team", "uid": f"uid-{name}", "resourceVersion": "1", "labels": labels}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


async def create(server: Any, path: str, obj: Object) -> None:
    url = f"{str(server.url).rstrip('/')}{path}"
    async with aiohttp.ClientSession() as session, session.post(url, json=obj) as response:
        assert response.status == 200, await response.text()


async def patch(server: Any, path: str, change: Object) -> None:
    url = f"{str(server.url).rstrip('/')}{path}"
    headers = {"Content-Type": "application/merge-patch+json"}
    async with aiohttp.ClientSession() as session, session.patch(url, json=change, headers=headers) as response:
        assert response.status == 200, await response.text()


async def delete(server: Any, path: str) -> None:
    url = f"{str(server.url).rstrip('/')}{path}"
    async with aiohttp.ClientSession() as session, session.delete(url) as response:
        assert response.status == 200, await response.text()


def reads(server: Any) -> list[Any]:
    """The lists and watches of objects so far, without discovery."""
    actions = (emulated.action.LIST, emulated.action.WATCH)
    return [request for request in list(server) if request.action in actions and request.resource.plural]


async def until_watched(server: Any, plural: str) -> None:
    """Wait until the server has the watch for a kind, since what was created before belongs to the first list."""
    async with asyncio.timeout(10):
        while not any(  # noqa: ASYNC110 - the emulator has nothing to wait for
            request.action == emulated.action.WATCH and plural in str(request.url) for request in list(server)
        ):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("plural", RECONCILED)
async def test_a_custom_resource_that_is_there_already_gets_its_key(kmock: Any, plural: str) -> None:
    kmock.objects[f"{naming.API_VERSION}/{plural}", "team", "a"] = an_object(plural, "a")
    async with watching(kmock) as operator:
        assert await operator.keys(1) == {Key(KINDS[plural], "team", "a")}


@pytest.mark.parametrize("plural", RECONCILED)
async def test_a_custom_resource_gets_its_key_when_it_is_made_and_when_it_is_deleted(kmock: Any, plural: str) -> None:
    path = f"/apis/{naming.API_VERSION}/namespaces/team/{plural}"
    async with watching(kmock) as operator:
        await until_watched(kmock, plural)
        await create(kmock, path, an_object(plural, "a"))
        assert await operator.keys(1) == {Key(KINDS[plural], "team", "a")}
        await delete(kmock, f"{path}/a")
        assert await operator.keys(1) == {Key(KINDS[plural], "team", "a")}


async def test_a_child_adds_the_keys_of_those_it_was_made_for(kmock: Any) -> None:
    labels = {naming.MODEL_LABEL: "model", naming.BANK_LABEL: "bank", **naming.MANAGED}
    async with watching(kmock) as operator:
        await until_watched(kmock, "pods")
        await create(kmock, "/api/v1/namespaces/team/pods", a_child("Pod", "compile", **labels))
        assert await operator.keys(2) == {Key(MODEL, "team", "model"), Key(BANK, "team", "bank")}


async def test_objects_that_are_not_ours_add_no_key(kmock: Any) -> None:
    stranger = a_child("Pod", "stranger", **{naming.SERVICE_LABEL: "not-ours"})
    ours = a_child("Pod", "ours", **{naming.SERVICE_LABEL: "ours"}, **naming.MANAGED)
    async with watching(kmock) as operator:
        await until_watched(kmock, "pods")
        for pod in (stranger, ours):
            await create(kmock, "/api/v1/namespaces/team/pods", pod)
        assert await operator.keys(1) == {Key(SERVICE, "team", "ours")}
        assert len(operator.queue) == 0


async def test_only_our_children_travel_over_the_watches(kmock: Any) -> None:
    async with watching(kmock):
        for _, _, plural in CHILDREN:
            await until_watched(kmock, f"/{plural}")
    for request in reads(kmock):
        if request.resource.group != naming.GROUP:
            assert request.params.get("labelSelector") == "app.kubernetes.io/managed-by=sdxl-operator", request.url


async def test_a_profile_that_changes_concerns_everyone_but_not_at_the_first_list(kmock: Any) -> None:
    kmock.objects[f"{naming.API_VERSION}/{PROFILES}", None, "old"] = an_object(PROFILES, "old")
    async with watching(kmock) as operator:
        await until_watched(kmock, PROFILES)
        before = operator.profile_changes
        await create(kmock, f"/apis/{naming.API_VERSION}/{PROFILES}", an_object(PROFILES, "new"))
        await asyncio.wait_for(operator.profile_changed.wait(), 10)
        assert operator.profile_changes > before
        assert len(operator.queue) == 0


async def test_nothing_is_ever_written_by_the_watch(kmock: Any) -> None:
    kmock.objects[f"{naming.API_VERSION}/sdxlservices", "team", "a"] = an_object("sdxlservices", "a")
    async with watching(kmock) as operator:
        await operator.keys(1)
    assert {request.method for request in list(kmock)} == {emulated.method.GET}


async def test_one_namespace_is_watched_where_one_is_set(kmock: Any) -> None:
    async with watching(kmock, OperatorSettings(namespace="team", health_port=0)):
        await until_watched(kmock, "sdxlservices")
        await until_watched(kmock, PROFILES)
    namespaces = {request.resource.plural: request.namespace for request in reads(kmock)}
    assert namespaces.pop(PROFILES) is None
    assert set(namespaces.values()) == {"team"}


def a_node(name: str, driver: str = "1", beat: str = "1") -> Object:
    metadata = {"name": name, "uid": f"uid-{name}", "resourceVersion": beat, "labels": {"driver": driver}}
    status = {"capacity": {"cpu": "4"}, "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": beat}]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status}


async def test_banks_hear_of_nodes_that_come_and_of_labels_that_change_and_not_of_heartbeats(kmock: Any) -> None:
    kmock.objects["v1/nodes", None, "a"] = a_node("a")
    async with watching(kmock, nodes=True) as operator:
        await until_watched(kmock, NODES)
        assert operator.node_changes == 0, "what is there at first is no change"
        await create(kmock, "/api/v1/nodes", a_node("b"))
        async with asyncio.timeout(10):
            while operator.node_changes < 1:  # noqa: ASYNC110 - a counter has nothing to wait for
                await asyncio.sleep(0.02)
        await patch(kmock, "/api/v1/nodes/b", {"status": a_node("b", beat="2")["status"]})
        await patch(kmock, "/api/v1/nodes/b", {"metadata": {"labels": {"driver": "2"}}})
        async with asyncio.timeout(10):
            while operator.node_changes < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        assert operator.node_changes == 2


async def test_where_nodes_may_not_be_read_they_are_not_watched(kmock: Any) -> None:
    async with watching(kmock) as operator:
        await until_watched(kmock, PROFILES)
        assert not any(NODES in str(request.url) for request in reads(kmock))
        assert operator.node_changes == 0
