"""`sdxl-runtime bank`: what a bank holds, whether it is intact, what it was made for, and moving it."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sdxl_runtime import logs
from sdxl_runtime.bank.explain import Explanation, Named, outside
from sdxl_runtime.bank.identity import identity
from sdxl_runtime.bank.listing import rows, table
from sdxl_runtime.bank.moving import bank_folder, export_command, identity_in, import_command
from sdxl_runtime.bank.store import entries, fields_of, identities
from sdxl_runtime.device import open_device
from sdxl_runtime.settings import Settings, SettingsError
from sdxl_runtime.termination import Failure

Options = argparse.Namespace


def main(arguments: Sequence[str]) -> int:
    """Run one command. 0: done; 1: failed, or an entry is damaged; 2: wrong arguments or settings."""
    options = _parser().parse_args(arguments)
    logs.configure()
    try:
        settings = Settings.from_environment(os.environ)
        code: int = options.run(settings, options)
    except SettingsError as error:
        print(f"sdxl-runtime bank {options.command}: {error}", file=sys.stderr)
        return 2
    except Failure as failure:
        print(f"sdxl-runtime bank {options.command}: {failure.reason}: {failure.message}", file=sys.stderr)
        return 1
    return code


def _list(settings: Settings, options: Options) -> int:
    found = rows(bank_folder(settings, options), options.verify)
    damaged = [row for row in found if row.state == "Damaged"]
    print(json.dumps([row.to_json() for row in found], indent=1) if options.json else table(found))
    return 1 if damaged else 0


def _explain(settings: Settings, options: Options) -> int:
    inside = _inside(settings)
    root: Path | None = options.bank or settings.bank_path
    known = [] if root is None else [_on_volume(root, held) for held in identities(root)]
    others = [*known, *([_other(options.other, known, settings)] if options.other else [])]
    spec = outside(settings.bank_name, settings.bank_spec)
    found = Explanation(settings.bank_name, spec, inside, others)
    print(json.dumps(found.to_json(), indent=1) if options.json else found.text())
    return 0


def _inside(settings: Settings) -> Named:
    try:
        name, fields = identity(settings, open_device(settings))
    except (RuntimeError, ImportError) as error:
        text = f"SDXL_BACKEND is {settings.backend}, but its driver or library is not here: {error}"
        raise SettingsError(text) from None
    return Named("inside", name, fields)


def _on_volume(root: Path, held: str) -> Named:
    return Named(f"on {root}", held, fields_of(root, held) or {}, len(entries(root, held)))


def _other(text: str, known: Sequence[Named], settings: Settings) -> Named:
    """A second identity: one of the volume by its name, what `identify` printed into a file, or an artefact's."""
    for named in known:
        if named.identity == text:
            return named
    path = Path(text)
    if path.suffix == ".tar" or not path.is_file():
        found = identity_in(text, settings)
        return Named(text, found.identity, found.fields, len(found.entries))
    try:
        item = json.loads(path.read_bytes())
        fields: Mapping[str, str] = {str(name): str(value) for name, value in item["fields"].items()}
        return Named(text, str(item["identity"]), fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SettingsError(f"{text} must hold what `sdxl-runtime identify` prints") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sdxl-runtime bank", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    _add_reading(commands)
    _add_moving(commands)
    return parser


def _add_reading(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    listed = _command(commands, "list", _list, "its entries: bucket, state, speed-up, difference, age, size")
    listed.add_argument("--verify", action="store_true", help="read every file and compare it with its digest")
    listed.add_argument("--json", action="store_true", help="for programs")
    checked = _command(commands, "verify", _list, "read every file of every entry; exit with 1 if one is damaged")
    checked.add_argument("--json", action="store_true", help="for programs")
    checked.set_defaults(verify=True)
    explained = _command(commands, "explain", _explain, "both of its names, and why it differs from another")
    explained.add_argument("--json", action="store_true", help="for programs")
    explained.add_argument(
        "other", nargs="?", default="", help="an identity of the volume, a file that `identify` printed, or an artefact"
    )


def _add_moving(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    place = "oci://HOST/REPOSITORY:TAG, oci-layout:PATH[:TAG], a folder or a .tar file"
    out = _command(commands, "export", export_command, "store it as an OCI artefact")
    out.add_argument("target", help=f"{place}; the tag is the identity where none is named")
    out.add_argument("--identity", default="", help="which one, where the volume has several")
    out.add_argument("--bucket", action="append", default=[], metavar="KEY", help="only this one; may be repeated")
    out.add_argument("--sign-key", type=Path, metavar="KEY.pem", help="sign it: ECDSA P-256, as cosign does")
    into = _command(commands, "import", import_command, "bring an OCI artefact onto the volume")
    into.add_argument("source", nargs="?", default="", help=f"{place}, or …@sha256:…; default SDXL_BANK_FROM")
    into.add_argument("--public-key", type=Path, metavar="KEY.pem", help="whose signature is asked for")
    for command in (out, into):
        command.add_argument("--registry-config", type=Path, help="credentials, as Docker's config.json")
        command.add_argument("--plain-http", action="store_true", help="ask the registry without TLS")


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[Settings, Options], int],
    summary: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=summary, description=summary)
    command.add_argument("--bank", type=Path, metavar="FOLDER", help="the bank's root; default SDXL_BANK_PATH")
    command.set_defaults(run=run)
    return command
