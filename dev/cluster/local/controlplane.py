"""etcd, the API server, controller manager, scheduler, and beside them cluster DNS, storage and the image registry."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

from dev.cache import cache_root
from dev.cluster.local import addons, configs, network, processes
from dev.cluster.local.layout import API_PORT, POD_RANGE, REGISTRY_PORT, SERVICE_RANGE, Layout
from dev.cluster.local.processes import Daemon
from dev.shell import run, succeeds

ETCD = "http://127.0.0.1:2379"
ISSUER = "https://kubernetes.default.svc"


def daemons(layout: Layout) -> list[Daemon]:
    """In the order in which they are started."""
    node, pki = layout.node(1), layout.pki

    def daemon(program: str, *options: str) -> Daemon:
        return Daemon(program, (str(layout.bin / program), *options), network.enter(node))

    def config_of(user: str) -> str:
        return f"--kubeconfig={layout.config}/{user}.kubeconfig"

    return [
        daemon("registry", "serve", f"{layout.config}/registry.json"),
        daemon(
            "etcd",
            f"--data-dir={layout.etcd}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--log-level=warn",
        ),
        daemon(
            "kube-apiserver",
            f"--etcd-servers={ETCD}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            f"--secure-port={API_PORT}",
            f"--advertise-address={node.address}",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--client-ca-file={pki}/ca.crt",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet.key",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",  # else logs and exec look up the node's name
            f"--requestheader-client-ca-file={pki}/ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={pki}/front-proxy.crt",
            f"--proxy-client-key-file={pki}/front-proxy.key",
            "--allow-privileged=true",
        ),
        daemon(
            "kube-controller-manager",
            config_of("controller-manager"),
            f"--service-account-private-key-file={pki}/sa.key",
            f"--root-ca-file={pki}/ca.crt",
            "--use-service-account-credentials",
            "--leader-elect=false",
            f"--cluster-cidr={POD_RANGE}",
            "--allocate-node-cidrs=false",
        ),
        daemon("kube-scheduler", config_of("scheduler"), "--leader-elect=false"),
        daemon("coredns", f"-conf={layout.config}/Corefile"),
        daemon(
            "local-path-provisioner",
            "start",
            "--kubeconfig",
            f"{layout.config}/provisioner.kubeconfig",
            "--config",
            f"{layout.config}/storage.json",
            "--helper-pod-file",
            f"{layout.config}/helper-pod.json",
            "--namespace",
            addons.NAMESPACE,
            "--service-account-name",
            addons.SERVICE_ACCOUNT,
            "--helper-image",
            "from-the-helper-pod-file",
        ),
    ]


def write_configs(layout: Layout, tools_tag: str) -> None:
    node = layout.node(1)
    files = {
        layout.config / "registry.json": configs.registry(node, str(cache_root() / "registry")),
        layout.config / "Corefile": configs.corefile(node, layout),
        layout.config / "storage.json": configs.storage(layout, (addons.SHARED_CLASS, addons.NODE_CLASS)),
        layout.config / "helper-pod.json": addons.helper_pod(tools_tag),
        layout.config / "resolv.conf": "",  # what a pod with dnsPolicy Default gets: there is no way out
        layout.image_hosts / "localhost" / "hosts.toml": configs.image_host(node),
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def start(layout: Layout) -> None:
    """Start what does not run, and wait until the API server and the registry answer."""
    by_name = {daemon.name: daemon for daemon in daemons(layout)}
    api, registry = by_name["kube-apiserver"], by_name["registry"]
    for name in ("registry", "etcd", "kube-apiserver"):
        processes.start(by_name[name], layout)
    processes.wait_until(lambda: api_ready(layout), api, layout, 90, "did not become ready")
    processes.wait_until(lambda: registry_ready(layout), registry, layout, 20, "did not answer")
    for daemon in by_name.values():
        processes.start(daemon, layout)
    node = layout.node(1)
    kubectl(layout, "apply", "--server-side", "--force-conflicts", "-f", "-", text_in=addons.objects(node))
    dns = by_name["coredns"]
    processes.wait_until(lambda: answers(f"http://{node.address}:8182/ready"), dns, layout, 30, "did not become ready")


def kubectl(layout: Layout, *words: str, text_in: str | None = None, check: bool = True) -> str:
    argv: list[str | Path] = [layout.bin / "kubectl", "--kubeconfig", layout.kubeconfig, *words]
    return run(argv, text_in=text_in, check=check, timeout=60)


def api_ready(layout: Layout) -> bool:
    return succeeds([layout.bin / "kubectl", "--kubeconfig", layout.kubeconfig, "get", "--raw", "/readyz"], timeout=5)


def registry_ready(layout: Layout) -> bool:
    return answers(f"http://{layout.node(1).address}:{REGISTRY_PORT}/v2/")


def answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def nodes(layout: Layout) -> dict[str, bool]:
    """Each registered node and whether it is ready."""
    items = json.loads(kubectl(layout, "get", "nodes", "-o", "json"))["items"]
    return {
        item["metadata"]["name"]: ("Ready", "True") in [(c["type"], c["status"]) for c in item["status"]["conditions"]]
        for item in items
    }
