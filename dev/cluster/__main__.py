"""`python -m dev.cluster up | down | status | load IMAGE… | kubeconfig | env`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from dev.cluster.local.cluster import LocalCluster
from dev.cluster.provider import Provider, choose
from dev.shell import Failed


def main(words: Sequence[str] | None = None) -> int:
    options = parser().parse_args(words)
    try:
        return run(options, choose(options.provider, options.use_kubeconfig))
    except Failed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def run(options: argparse.Namespace, cluster: Provider) -> int:
    match options.command:
        case "up":
            cluster.up(options.nodes)
            print(cluster.kubeconfig)
        case "down":
            cluster.down()
        case "status":
            return 0 if cluster.status() else 1
        case "load":
            cluster.load(options.images)
        case "kubeconfig":
            print(cluster.kubeconfig)
        case "env":
            print_environment(cluster)
        case "node":
            if not isinstance(cluster, LocalCluster):
                raise Failed("only nodes of the local cluster can be stopped, started and removed")
            verbs = {"stop": cluster.stop_node, "start": cluster.start_node, "remove": cluster.remove_node}
            verbs[options.action](options.number)
    return 0


def print_environment(cluster: Provider) -> None:
    """Lines for a shell's eval: the kubeconfig, and the cluster's own kubectl and helm first in the path."""
    print(f"export KUBECONFIG={cluster.kubeconfig}")
    if isinstance(cluster, LocalCluster):
        print(f'export PATH="{cluster.layout.bin}:$PATH"')


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m dev.cluster", description="A cluster to develop and test on.")
    top.add_argument("--provider", choices=["kind", "local"], help="default: kind where Docker answers, else local")
    top.add_argument("--use-kubeconfig", metavar="PATH", help="use this existing cluster; also SDXL_USE_KUBECONFIG")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="make the cluster, or complete and repair the one that is there")
    up.add_argument("--nodes", type=int, metavar="N", help="at least so many nodes (default 1)")
    commands.add_parser("down", help="remove the cluster and everything it left; the cache stays")
    commands.add_parser("status", help="what runs, what does not, and where the logs are")
    load = commands.add_parser("load", help="bring images that were built here to every node")
    load.add_argument("images", nargs="+", metavar="IMAGE")
    commands.add_parser("kubeconfig", help="print the path of the kubeconfig")
    commands.add_parser("env", help='for a shell: eval "$(python -m dev.cluster env)"')
    node = commands.add_parser("node", help="make a node fail, bring it back, or take the last one away (local only)")
    node.add_argument("action", choices=["stop", "start", "remove"])
    node.add_argument("number", type=int)
    for command in commands.choices.values():  # accepted after the command as well
        command.add_argument("--provider", choices=["kind", "local"], default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        command.add_argument("--use-kubeconfig", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return top


if __name__ == "__main__":
    sys.exit(main())
