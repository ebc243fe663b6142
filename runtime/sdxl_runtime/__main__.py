"""The sub-commands of `sdxl-runtime`. Each is imported when it is called: `fetch` needs no torch, `--help` nothing."""

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence

from sdxl_runtime import __version__, logs
from sdxl_runtime.settings import Settings, SettingsError

_COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "serve": ("sdxl_runtime.serving", "main", "serve the model: OpenAI's images API, health, metrics"),
    "compile": ("sdxl_runtime.compiling", "main", "compile the declared buckets into the tune bank"),
    "fetch": ("sdxl_runtime.sources", "main", "bring the model onto the volume"),
    "identify": ("sdxl_runtime.bank", "identify_main", "print what a compiled artefact depends on here"),
}
_OWN: Mapping[str, tuple[str, str]] = {
    "bank": ("sdxl_runtime.bank.commands", "list, verify, explain and move the tune bank"),
    "bench": ("sdxl_runtime.bench", "load any OpenAI-compatible image endpoint and say what came of it"),
}
"""Those with a command line of their own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command with the settings of the environment; returns the exit code of docs/contract.md."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in _OWN:
        own: int = importlib.import_module(_OWN[words[0]][0]).main(words[1:])
        return own
    command = _parser().parse_args(words).command
    logs.configure()
    module, function, _ = _COMMANDS[command]
    try:
        settings = Settings.from_environment(os.environ)
        code: int = getattr(importlib.import_module(module), function)(settings)
    except SettingsError as error:
        print(f"sdxl-runtime {command}: {error}", file=sys.stderr)
        return 2
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sdxl-runtime",
        description="Stable Diffusion XL at declared shapes. Settings come from SDXL_… variables: docs/contract.md.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, (_, _, summary) in _COMMANDS.items():
        commands.add_parser(name, help=summary, description=summary)
    for name, (_, summary) in _OWN.items():
        commands.add_parser(name, help=summary)
    return parser


if __name__ == "__main__":
    sys.exit(main())
