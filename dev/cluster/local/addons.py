"""What every cluster needs beside its components, as Kubernetes objects: cluster DNS and storage classes. Pure."""

from __future__ import annotations

import json
from typing import Any

from dev.cluster.local.layout import DNS_PORT, DNS_SERVICE, TOOLS_IMAGE, Node

SHARED_CLASS = "standard"
NODE_CLASS = "node-local"
PROVISIONER = "rancher.io/local-path"
STORAGE_GROUP = "storageclass.kubernetes.io"
SERVICE_ACCOUNT = "local-path-provisioner"
NAMESPACE = "kube-system"

Object = dict[str, Any]


def objects(control_plane: Node) -> str:
    """All of them as one list, to be applied."""
    items = [*dns(control_plane), *storage()]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def dns(control_plane: Node) -> list[Object]:
    """A Service without selector in front of the CoreDNS process: the cluster has names before it has any pod."""
    ports = [("dns", "UDP"), ("dns-tcp", "TCP")]
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": NAMESPACE, "labels": {"k8s-app": "kube-dns"}},
        "spec": {
            "clusterIP": DNS_SERVICE,
            "ports": [{"name": n, "protocol": p, "port": 53, "targetPort": DNS_PORT} for n, p in ports],
        },
    }
    endpoints: Object = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns",
            "namespace": NAMESPACE,
            "labels": {
                "kubernetes.io/service-name": "kube-dns",
                "endpointslice.kubernetes.io/managed-by": "sdxl-operator-dev-cluster",
            },
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [control_plane.address], "conditions": {"ready": True}}],
        "ports": [{"name": n, "protocol": p, "port": DNS_PORT} for n, p in ports],
    }
    return [service, endpoints]


def storage() -> list[Object]:
    """`standard`, the default, takes every access mode; `node-local` is what most clusters have and refuses sharing."""
    account: Object = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": SERVICE_ACCOUNT, "namespace": NAMESPACE},
        "automountServiceAccountToken": False,
    }
    return [account, storage_class(SHARED_CLASS, "Immediate", True), storage_class(NODE_CLASS, "WaitForFirstConsumer")]


def storage_class(name: str, binding: str, default: bool = False) -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": {f"{STORAGE_GROUP}/is-default-class": str(default).lower()}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": binding,
    }


def helper_pod(tools_tag: str) -> str:
    """The pod in which the provisioner makes and removes a volume's folder."""
    container = {"name": "helper-pod", "image": f"{TOOLS_IMAGE}:{tools_tag}", "imagePullPolicy": "IfNotPresent"}
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "helper-pod"},
        "spec": {"containers": [container], "priorityClassName": "system-node-critical"},
    }
    return json.dumps(pod)
