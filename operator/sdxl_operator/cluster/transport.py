"""One call to the API server: the path, the pace, the deadline, and the answer as JSON or as a `ClusterError`."""

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from sdxl_operator import naming
from sdxl_operator.api import KINDS
from sdxl_operator.cluster.errors import KindNotServed, Unavailable, error_of
from sdxl_operator.naming import Object, Ref

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
BURST_SECONDS = 2.0

PLURALS: Mapping[tuple[str, str], str] = {
    ("v1", "ConfigMap"): "configmaps",
    ("v1", "Event"): "events",
    ("v1", "Namespace"): "namespaces",
    ("v1", "Node"): "nodes",
    ("v1", "PersistentVolume"): "persistentvolumes",
    ("v1", "PersistentVolumeClaim"): "persistentvolumeclaims",
    ("v1", "Pod"): "pods",
    ("v1", "Secret"): "secrets",
    ("v1", "Service"): "services",
    ("apps/v1", "ControllerRevision"): "controllerrevisions",
    ("apps/v1", "Deployment"): "deployments",
    ("apps/v1", "ReplicaSet"): "replicasets",
    ("batch/v1", "Job"): "jobs",
    ("policy/v1", "PodDisruptionBudget"): "poddisruptionbudgets",
    ("storage.k8s.io/v1", "StorageClass"): "storageclasses",
    ("events.k8s.io/v1", "Event"): "events",
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): "customresourcedefinitions",
    **{(naming.API_VERSION, kind.kind): kind.plural for kind in KINDS},
}
"""Every kind the operator reads or writes; a list and not discovery, so that RBAC can be checked against it."""

Observe = Callable[[str, str, str, float], None]
"""Told of each call: kind, verb, status code or `none`, seconds."""


async def load_configuration(kubeconfig: Path | None = None, context: str = "") -> Configuration:
    """Where the API server is: `kubeconfig`, else $KUBECONFIG, else what a pod is told, else ~/.kube/config.

    `context` is one of the file's; the current one where it is empty.

    Raises:
        Unavailable: none of them is there, or it cannot be read.
    """
    configuration = Configuration()
    file = kubeconfig or os.environ.get("KUBECONFIG")
    try:
        if not file and os.environ.get("KUBERNETES_SERVICE_HOST"):
            load_incluster_config(configuration)
        else:
            path = str(file) if file else None
            await load_kube_config(path, context=context or None, client_configuration=configuration)
    except (ConfigException, OSError) as error:
        raise Unavailable(0, "NoCredentials", f"no API server is configured: {error}") from None
    return configuration


class Transport:
    """Calls to one API server, no more than so many a second."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        queries_per_second: float = 50,
        timeout_seconds: float = 30,
        observe: Observe = lambda kind, verb, code, seconds: None,
    ) -> None:
        self._client = ApiClient(configuration)
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._spacing = 1 / queries_per_second
        self._next_slot = 0.0
        self._observe = observe

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def call(
        self,
        verb: str,
        method: str,
        ref: Ref,
        *,
        subresource: str = "",
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """The answer to one call.

        Raises:
            ClusterError: the subclass says what to do about it.
        """
        await self._slot()
        loop = asyncio.get_running_loop()
        began, code = loop.time(), "none"
        try:
            status, answer, retry_after = await self._send(
                method, path_of(ref, subresource), query or {}, body, content_type
            )
            code = str(status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            message = f"{method} {path_of(ref, subresource)}: {error or type(error).__name__}"
            raise Unavailable(0, type(error).__name__, message) from None
        finally:
            self._observe(ref.kind, verb, code, loop.time() - began)
        if status >= 400:
            raise error_of(status, answer, retry_after)
        # NB: an apply that creates answers 201, which CustomObjectsApi does not know and turns into None
        parsed: Object = json.loads(answer)
        return parsed

    async def _send(
        self, method: str, path: str, query: Mapping[str, str], body: Object | None, content_type: str
    ) -> tuple[int, bytes, str | None]:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        request: Any = await self._client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        response = await self._client.call_api(*request, _request_timeout=self._timeout)
        return response.status, await response.read(), response.getheader("Retry-After")

    async def _slot(self) -> None:
        now = asyncio.get_running_loop().time()
        self._next_slot = max(self._next_slot + self._spacing, now - BURST_SECONDS)
        if self._next_slot > now:
            await asyncio.sleep(self._next_slot - now)


def path_of(ref: Ref, subresource: str = "") -> str:
    """The URL path of an object; of the collection where the name is empty, of the version where the kind is.

    Raises:
        ClusterError: the kind is not in `PLURALS`.
    """
    plural = PLURALS.get((ref.api_version, ref.kind)) if ref.kind else ""
    if plural is None:
        raise KindNotServed(404, "UnknownKind", f"{ref.api_version} {ref.kind} is not in the operator's list of kinds")
    root = "apis" if "/" in ref.api_version else "api"
    namespace = ("namespaces", ref.namespace) if ref.namespace else ()
    parts = (root, *ref.api_version.split("/"), *namespace, plural, ref.name, subresource)
    return "".join(f"/{quote(part, safe='')}" for part in parts if part)
