"""Who uses a model or a bank: services whose status names it, and Deployments whose pods mount it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from sdxl_operator import naming
from sdxl_operator.api.service import ServiceSpec
from sdxl_operator.cluster import Cluster


@dataclass(frozen=True, slots=True)
class User:
    """A service that uses something."""

    name: str
    spec: ServiceSpec
    status: Mapping[str, Any]
    paused: bool = False

    def asks(self, known: Collection[str]) -> ServiceSpec:
        """What it wants of a bank that knows these buckets: while it is paused, none that an edit added since."""
        if not self.paused:
            return self.spec
        kept = [bucket for bucket in self.spec.buckets if naming.bucket_key(bucket.model_dump(by_alias=True)) in known]
        return self.spec.model_copy(update={"buckets": kept})


async def users_of_model(cluster: Cluster, metadata: Mapping[str, Any]) -> tuple[list[User], list[str]]:
    """The services whose status names this model for whatever use, and the Deployments whose pods mount it, by name."""

    def named(status: Mapping[str, Any]) -> set[str]:
        return {use.name for use in naming.model_uses(status)}

    return await _users_of(cluster, metadata, named, {naming.uses_model_label(metadata["name"]): "true"})


async def users_of_bank(cluster: Cluster, metadata: Mapping[str, Any]) -> tuple[list[User], list[str]]:
    """The services whose status names this bank, and the Deployments whose pods mount it, by name."""

    def named(status: Mapping[str, Any]) -> set[str]:
        return {status["bank"]} if status.get("bank") else set()

    return await _users_of(cluster, metadata, named, {naming.USES_BANK_LABEL: metadata["name"]})


async def _users_of(
    cluster: Cluster,
    metadata: Mapping[str, Any],
    named: Callable[[Mapping[str, Any]], Collection[str]],
    labels: Mapping[str, str],
) -> tuple[list[User], list[str]]:
    """A service is read through its status, because only its own turn knows the profile that names follow from."""
    name, namespace = metadata["name"], metadata["namespace"]
    users: list[User] = []
    for service in await cluster.list(naming.API_VERSION, naming.SERVICE, namespace):
        if name not in named(service.get("status") or {}) or service["metadata"].get("deletionTimestamp"):
            continue
        try:
            spec = ServiceSpec.model_validate(service["spec"])
            status, paused = service.get("status") or {}, naming.is_paused(service)
            users.append(User(service["metadata"]["name"], spec, status, paused))
        except ValidationError:
            continue  # its own turn says so in its status
    deployments = await cluster.list("apps/v1", "Deployment", namespace, {**naming.MANAGED, **labels})
    return sorted(users, key=lambda user: user.name), sorted(item["metadata"]["name"] for item in deployments)
