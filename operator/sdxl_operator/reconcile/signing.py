"""The signing Secrets: each is made once, and never read, since the operator may only create Secrets."""

from collections.abc import Callable, Mapping
from typing import Any

from sdxl_operator.cluster import Cluster
from sdxl_operator.naming import Key
from sdxl_operator.plan import signing
from sdxl_operator.status.pods import Observed, missing_secret


class SigningSecrets:
    """Remembers which services have theirs, so that a turn that changes nothing asks for nothing."""

    def __init__(self, draw: Callable[[], str]) -> None:
        self._draw = draw
        self._made: dict[tuple[str, str], str] = {}

    async def ensure(self, cluster: Cluster, service: Mapping[str, Any]) -> None:
        """Make the Secret of a service, unless it is known to be there.

        Raises:
            ClusterError: the API server refuses it.
        """
        metadata = service["metadata"]
        place = (metadata["namespace"], metadata["name"])
        if self._made.get(place) == metadata["uid"]:
            return
        await cluster.create(signing.build(service, self._draw()))
        self._made[place] = metadata["uid"]

    def missed(self, service: Mapping[str, Any], observed: Observed) -> None:
        """Make it anew at the next turn if the kubelet does not find it: somebody deleted it."""
        metadata = service["metadata"]
        name = signing.name_of(metadata["name"])
        if any(missing_secret(trouble) == name for trouble in observed.pod_troubles.values()):
            self._made.pop((metadata["namespace"], metadata["name"]), None)

    def forget(self, key: Key) -> None:
        """The service is gone, and its Secret with it."""
        self._made.pop((key.namespace, key.name), None)
