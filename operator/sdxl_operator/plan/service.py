"""The Service in front of the replicas, and the address that status shows."""

from collections.abc import Mapping
from typing import Any

from sdxl_operator import naming
from sdxl_operator.naming import Object
from sdxl_operator.plan.resolved import Resolved


def build(owner: Mapping[str, Any], service: Resolved) -> Object:
    """The Service; it carries the public port only."""
    expose = service.spec.expose.service
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": service.name,
            "namespace": service.namespace,
            "labels": {**naming.labels("server", service.name), naming.SERVICE_LABEL: service.name},
            "ownerReferences": [naming.owner_reference(owner)],
        },
        "spec": {
            "type": expose.type,
            "selector": {naming.SERVICE_LABEL: service.name},
            "ports": [{"name": "http", "port": expose.port, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def url(service: Resolved) -> str:
    """Where clients inside the cluster reach the service."""
    port = service.spec.expose.service.port
    return f"http://{service.name}.{service.namespace}.svc" + ("" if port == 80 else f":{port}")
