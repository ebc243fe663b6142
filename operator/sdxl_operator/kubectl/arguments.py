"""The command line of `kubectl sdxl`."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from sdxl_operator import __version__
from sdxl_operator.kubectl import commands
from sdxl_operator.kubectl.logs import COMPONENTS

PLAN = """Say what an apply of edited manifests would cost, and change nothing.

For each service: the class of the edit (Nothing, Live, Restart, Recompile, Retune, Refetch), each field with its own,
what is fetched, compiled and replaced, and the seconds as far as they were measured before. kubectl itself is asked
what the apply would make, so the API server checks the manifests too."""

ROLLBACK = """Edit a service's spec back to what an earlier revision froze of it, as `kubectl rollout undo` does.

What makes pods goes back: model, buckets, compile options, server. What makes none stays: replicas, suspend, expose,
rollout (but its drain timeout), retention. Where the revision once ran, its very pods come back, image included.

NB: with GitOps (Argo CD, Flux) the next sync applies what the repository says and so undoes the rollback: revert the
commit instead, or suspend the sync until you have. The same goes for the next `kubectl apply` of your file."""

EPILOG = """status, banks, models, plan and logs read only; rollback edits. docs/edits.md has what each field costs."""


def parser() -> ArgumentParser:
    """The parser; `run` of what it parses is the command."""
    root = ArgumentParser(prog="kubectl sdxl", description="See and steer SDXLServices.", epilog=EPILOG)
    root.add_argument("--version", action="version", version=__version__)
    of_all = root.add_subparsers(required=True, metavar="COMMAND")
    where = _connection()

    def command(name: str, run: Any, about: str, details: str = "") -> ArgumentParser:
        sub = of_all.add_parser(
            name,
            help=about,
            description=details or f"{about[:1].upper()}{about[1:]}.",
            parents=[where],
            formatter_class=RawDescriptionHelpFormatter,
        )
        sub.set_defaults(run=run)
        return sub

    plan = command("plan", commands.plan, "what an edit would cost", PLAN)
    plan.add_argument("-f", "--filename", required=True, help="the edited manifests; - is standard input")
    plan.add_argument("--server-side", action="store_true", help="as `kubectl apply --server-side` would make it")
    plan.add_argument("--force-conflicts", action="store_true", help="and as it would be made with that")
    plan.add_argument("--field-manager", default="kubectl", help="the field manager of that (kubectl)")
    status = command("status", commands.status, "how a service stands, on one screen")
    status.add_argument("name", help="the service")
    for name, run, about in (
        ("banks", commands.banks, "the tune banks, and what they cost"),
        ("models", commands.models, "the models, refiners and adapters"),
    ):
        listing = command(name, run, about)
        listing.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    logs = command("logs", commands.show_logs, "the logs of a service's pods")
    logs.add_argument("name", help="the service")
    logs.add_argument("--component", choices=COMPONENTS, default="server", help="which pods (server)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as lines come")
    logs.add_argument("--tail", type=int, default=-1, help="only so many last lines of each pod")
    rollback = command("rollback", commands.rollback, "go back to an earlier revision", ROLLBACK)
    rollback.add_argument("name", help="the service")
    rollback.add_argument("--to", default="", metavar="REVISION", help="its number or name; the last other that ran")
    rollback.add_argument("--dry-run", action="store_true", help="say what it would cost, and change nothing")
    return root


def _connection() -> ArgumentParser:
    common = ArgumentParser(add_help=False)
    common.add_argument("-n", "--namespace", default="", help="the namespace; that of the context where not given")
    common.add_argument("--context", default="", help="a context of the kubeconfig")
    common.add_argument("--kubeconfig", type=Path, help="the kubeconfig file")
    return common
