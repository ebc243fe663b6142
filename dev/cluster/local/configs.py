"""The configuration files of a local cluster, as text. Pure. JSON wherever the reader takes YAML."""

from __future__ import annotations

import base64
import json
from typing import Any

from dev.cluster.local.layout import (
    API_PORT,
    CONTEXT,
    DNS_PORT,
    DNS_SERVICE,
    REGISTRY_PORT,
    TOOLS_IMAGE,
    Layout,
    Node,
)


def containerd(node: Node, layout: Layout, tools_tag: str) -> str:
    """containerd's own file. `restrict_oom_score_adj` lets it run where CAP_SYS_RESOURCE is missing."""
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""\
version = 2
root = "{node.folder}/containerd"
state = "{node.folder}/state"
[grpc]
  address = "{node.containerd_socket}"
[{cri}]
  sandbox_image = "{TOOLS_IMAGE}:{tools_tag}"
  restrict_oom_score_adj = true
  max_concurrent_downloads = 6
  [{cri}.cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{node.folder}/cni"
  [{cri}.registry]
    config_path = "{layout.image_hosts}"
  [{cri}.containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [{cri}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""


def image_host(registry: Node) -> str:
    """hosts.toml for the name localhost: an image that is not in our registry is a quick 404, not a hanging lookup."""
    server = f"http://{registry.address}:{REGISTRY_PORT}"
    return f'server = "{server}"\n[host."{server}"]\n  capabilities = ["pull", "resolve"]\n'


def registry(node: Node, storage: str) -> str:
    return json.dumps(
        {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": storage}, "delete": {"enabled": True}},
            "http": {"addr": f"{node.address}:{REGISTRY_PORT}"},
        }
    )


def pod_network(node: Node) -> str:
    """A bridge per node. The host routes between them, so a pod is seen under its own address everywhere."""
    ipam = {
        "type": "host-local",
        "dataDir": f"{node.folder}/private/cni/networks",
        "ranges": [[{"subnet": node.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True, "ipam": ipam}
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}, {"type": "loopback"}]
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": plugins}, indent=1)


def kubelet(node: Node, layout: Layout) -> str:
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{node.containerd_socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{node.cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "localStorageCapacityIsolation": False,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
            "serializeImagePulls": False,
            "registryPullQPS": 0,
            "authentication": {
                "x509": {"clientCAFile": f"{layout.pki}/ca.crt"},
                "webhook": {"enabled": True},
                "anonymous": {"enabled": False},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{layout.pki}/{node.name}.crt",
            "tlsPrivateKeyFile": f"{layout.pki}/{node.name}.key",
            "clusterDomain": "cluster.local",
            "clusterDNS": [DNS_SERVICE],
            "resolvConf": f"{layout.config}/resolv.conf",
            "volumePluginDir": f"{node.folder}/volume-plugins",
        },
        indent=1,
    )


def kubeconfig(user: str, control_plane: Node, files: dict[str, bytes]) -> str:
    """A kubeconfig that needs no other file. `files` holds ca.crt and the user's .crt and .key."""

    def embedded(name: str) -> str:
        return base64.b64encode(files[name]).decode()

    server = f"https://{control_plane.address}:{API_PORT}"
    cluster = {"server": server, "certificate-authority-data": embedded("ca.crt")}
    who = {
        "client-certificate-data": embedded(f"{user}.crt"),
        "client-key-data": embedded(f"{user}.key"),
    }
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": user, "user": who}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user}}],
        "current-context": CONTEXT,
    }
    return json.dumps(content, indent=1)


def corefile(control_plane: Node, layout: Layout) -> str:
    """Names of the cluster only: pods have no way to other networks, and a refusal tells them so at once."""
    return f"""\
.:{DNS_PORT} {{
    bind {control_plane.address}
    errors
    health {control_plane.address}:8181
    ready {control_plane.address}:8182
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {layout.config}/coredns.kubeconfig {CONTEXT}
        pods insecure
        ttl 5
    }}
    cache 5
}}
"""


def storage(layout: Layout, classes: tuple[str, str]) -> str:
    """local-path-provisioner's file: the first class shares a folder over all nodes, the second is bound to a node."""
    shared, bound = classes
    return json.dumps(
        {
            "setupCommand": "/volume",
            "teardownCommand": "/volume",
            "cmdTimeoutSeconds": 120,
            "storageClassConfigs": {
                shared: {"sharedFileSystemPath": f"{layout.volumes}/shared"},
                bound: {
                    "nodePathMap": [
                        {"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [f"{layout.volumes}/node"]},
                    ]
                },
            },
        },
        indent=1,
    )
