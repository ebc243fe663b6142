"""The program `kubectl-sdxl`, which kubectl runs as `kubectl sdxl`."""

import asyncio
import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from sdxl_operator.cluster import ClusterError
from sdxl_operator.cluster.kubeconfig import current_namespace
from sdxl_operator.cluster.recorder import EventRecorder
from sdxl_operator.cluster.server import KubernetesCluster
from sdxl_operator.cluster.transport import Transport, load_configuration
from sdxl_operator.kubectl.arguments import parser
from sdxl_operator.kubectl.commands import Session
from sdxl_operator.kubectl.errors import CommandError
from sdxl_operator.kubectl.program import InstalledKubectl
from sdxl_operator.kubectl.text import Style

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. 0: done; 1: it cannot be done, and standard error says why; 2: the command line is wrong."""
    options = parser().parse_args(arguments)
    try:
        for line in asyncio.run(_run(options)):
            print(line)
    except (ClusterError, CommandError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


async def _run(options: Namespace) -> list[str]:
    configuration = await load_configuration(options.kubeconfig, options.context)
    async with Transport(configuration) as transport:
        session = Session(
            KubernetesCluster(transport, EventRecorder(transport)),
            InstalledKubectl(list(_connection(options))),
            options.namespace or current_namespace(options.kubeconfig, options.context),
            Style(coloured=sys.stdout.isatty() and not os.environ.get("NO_COLOR")),
            datetime.now(UTC),
        )
        lines: list[str] = await options.run(session, options)
        return lines


def _connection(options: Namespace) -> Iterator[str]:
    if options.kubeconfig:
        yield f"--kubeconfig={options.kubeconfig}"
    if options.context:
        yield f"--context={options.context}"


if __name__ == "__main__":
    sys.exit(main())
