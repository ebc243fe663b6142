"""Who uses a model or a bank: services whose status names it, and Deployments whose pods mount it."""

from collections.abc import Mapping
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


async def users_of(
    cluster: Cluster, metadata: Mapping[str, Any], member: str, label: str
) -> tuple[list[User], list[str]]:
    """The services whose `status.<member>` is this object, by name, and the Deployments that carry `label` for it.

    A service is read through its status, because only its own turn knows the profile that the name follows from.
    """
    name, namespace = metadata["name"], metadata["namespace"]
    users: list[User] = []
    for service in await cluster.list(naming.API_VERSION, naming.SERVICE, namespace):
        if (service.get("status") or {}).get(member) != name or service["metadata"].get("deletionTimestamp"):
            continue
        try:
            users.append(User(service["metadata"]["name"], ServiceSpec.model_validate(service["spec"])))
        except ValidationError:
            continue  # its own turn says so in its status
    deployments = await cluster.list("apps/v1", "Deployment", namespace, {**naming.MANAGED, label: name})
    return sorted(users, key=lambda user: user.name), sorted(item["metadata"]["name"] for item in deployments)
