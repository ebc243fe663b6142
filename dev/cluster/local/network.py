"""Network namespaces, the link of each to the host, and the host's routes to pods and services."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from dev.cluster.local.layout import SERVICE_RANGE, Layout, Node
from dev.shell import Failed, run, succeeds

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
NAMESPACES = Path("/run/netns")


def exists(node: Node) -> bool:
    return (NAMESPACES / node.namespace).exists()


def require_free(node: Node) -> None:
    """Fail where the addresses we use lead somewhere else already."""
    for target in (node.address, node.pods.removesuffix(".0/24") + ".1"):
        found = json.loads(run(["ip", "-j", "route", "get", target], check=False) or "[]")
        device = found[0].get("dev") if found else None
        uplinks = {route.get("dev") for route in json.loads(run(["ip", "-j", "route", "show", "default"]) or "[]")}
        if device not in {None, "lo", node.host_link} | uplinks:
            raise Failed(f"{target} is reached through {device!r} here, but the local cluster needs that address")


def ensure(node: Node) -> None:
    """The node's namespace, linked and routed. Whatever is half there is completed."""
    require_free(node)
    inside = ["ip", "-n", node.namespace]
    if not exists(node) or not succeeds([*inside, "link", "show", "lo"]):
        remove(node)
        run(["ip", "netns", "add", node.namespace])
    if not succeeds([*inside, "link", "show", node.node_link]):
        run(["ip", "link", "delete", node.host_link], check=False)
        pair = ["type", "veth", "peer", "name", node.node_link, "netns", node.namespace]
        run(["ip", "link", "add", node.host_link, *pair])
    run(["ip", "address", "replace", f"{node.gateway}/30", "dev", node.host_link])
    run(["ip", "link", "set", node.host_link, "up"])
    run([*inside, "address", "replace", f"{node.address}/30", "dev", node.node_link])
    for link in ("lo", node.node_link):
        run([*inside, "link", "set", link, "up"])
    run([*inside, "route", "replace", "default", "via", node.gateway])
    run(["ip", "route", "replace", node.pods, "via", node.address])
    if node.number == 1:
        run(["ip", "route", "replace", SERVICE_RANGE, "via", node.address])
    settings = ["net.ipv4.ip_forward=1", "net.ipv4.conf.all.route_localnet=1"]
    # not `ip netns exec`: it mounts /sys anew, without the cgroups
    run([*enter(node), "sysctl", "-q", "-w", *settings])


def enter(node: Node) -> tuple[str, ...]:
    """The command prefix that runs something in the node's network, with the host's files."""
    return ("nsenter", f"--net={NAMESPACES / node.namespace}")


def forward_between_nodes() -> None:
    """Let the host pass packets between nodes."""
    if FORWARDING.read_text().strip() != "1":
        FORWARDING.write_text("1")


def remove(node: Node) -> None:
    """The link and its routes go with the namespace; a link whose namespace is gone goes by itself."""
    run(["ip", "netns", "delete", node.namespace], check=False)
    run(["ip", "link", "delete", node.host_link], check=False)
    with contextlib.suppress(OSError):
        (NAMESPACES / node.namespace).unlink()  # an empty file is all that a reboot leaves


def leftovers(layout: Layout, count: int) -> list[str]:
    """What of our network is still there."""
    nodes = [layout.node(number) for number in range(1, count + 1)]
    left = [f"network namespace {node.namespace}" for node in nodes if exists(node)]
    left += [f"link {node.host_link}" for node in nodes if succeeds(["ip", "link", "show", node.host_link])]
    routes = run(["ip", "route", "show"])
    left += [f"route to {target}" for target in (SERVICE_RANGE, *(n.pods for n in nodes)) if f"{target} via" in routes]
    return left
