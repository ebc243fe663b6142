"""Images on their way to the nodes: pushed to the cluster's registry layer by layer, then pulled by each node."""

from __future__ import annotations

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from dev.cluster.local.layout import REGISTRY_PORT, Layout, Node
from dev.engine import buildah, image_exists
from dev.shell import Failed, run, step

PREFIX = "localhost/"
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


def load(references: list[str], on: list[Node], layout: Layout) -> None:
    """Bring images from the local build store to every node. Layers that are there already do not travel."""
    for reference in references:
        path = repository(reference)
        if not image_exists(reference):
            raise Failed(f"there is no image {reference}; build it first: python -m dev.images")
        with step(f"load {reference}"):
            target = f"docker://{layout.node(1).address}:{REGISTRY_PORT}/{path}"
            # the quickest that buildah can: to a registry it always compresses, whatever --disable-compression says
            quick = ["--compression-format", "zstd", "--compression-level", "1"]
            run(buildah("push", "--quiet", "--tls-verify=false", *quick, reference, target))
            with ThreadPoolExecutor(len(on) or 1) as pool:
                list(pool.map(partial(pull, reference, layout=layout), on))


def repository(reference: str) -> str:
    """The part of a name that the registry knows."""
    if not reference.startswith(PREFIX) or ":" not in reference:
        raise Failed(f"{reference}: only images named {PREFIX}NAME:TAG can be loaded into the local cluster")
    return reference.removeprefix(PREFIX)


def pull(reference: str, node: Node, layout: Layout) -> None:
    """Make a node have what the name means now; the kubelet alone would keep an older image of the same name."""
    if digest_on(node, reference) == digest_in_registry(reference, layout):
        return
    hosts = ["--hosts-dir", str(layout.image_hosts)]
    run([*node.ctr, "images", "pull", *hosts, "--snapshotter", "overlayfs", reference])


def digest_on(node: Node, reference: str) -> str | None:
    for line in run([*node.ctr, "images", "list", f"name=={reference}"]).splitlines()[1:]:
        words = line.split()
        if words[0] == reference:
            return words[2]
    return None


def digest_in_registry(reference: str, layout: Layout) -> str:
    name, _, tag = repository(reference).rpartition(":")
    url = f"http://{layout.node(1).address}:{REGISTRY_PORT}/v2/{name}/manifests/{tag}"
    request = urllib.request.Request(url, method="HEAD", headers={"Accept": MANIFESTS})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as reply:
        return str(reply.headers["Docker-Content-Digest"])


def in_registry(layout: Layout) -> list[str]:
    url = f"http://{layout.node(1).address}:{REGISTRY_PORT}/v2/_catalog?n=1000"
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as reply:
        return [str(name) for name in json.load(reply)["repositories"] or []]
