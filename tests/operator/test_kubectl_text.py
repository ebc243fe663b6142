"""How `kubectl sdxl` shows things, where it connects, and how it calls kubectl."""

import asyncio
import importlib
import sys
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from sdxl_operator.cluster import Unavailable
from sdxl_operator.cluster.kubeconfig import current_namespace
from sdxl_operator.kubectl import estimate
from sdxl_operator.kubectl.__main__ import main
from sdxl_operator.kubectl.arguments import ROLLBACK, parser
from sdxl_operator.kubectl.errors import CommandError
from sdxl_operator.kubectl.listing import size
from sdxl_operator.kubectl.overview import overview
from sdxl_operator.kubectl.program import InstalledKubectl
from sdxl_operator.kubectl.text import GREEN, PLAIN, RED, Style, duration, facts, since, table
from sdxl_operator.kubectl.undo import applied
from sdxl_operator.naming import Object
from tests.operator.builders import NOW, REPOSITORY, a_service, at, resolved


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.4, "0s"), (45, "45s"), (60, "1m"), (206, "3m26s"), (7500, "2h5m"), (7201, "2h"), (356400, "4d3h")],
)
def test_a_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(None, "-"), (12, "12 B"), (2048, "2.0 KiB"), (12243570, "11.7 MiB")])
def test_a_size_is_one_for_people(count: int | None, text: str) -> None:
    assert size(count) == text


def test_columns_stand_under_their_heads_whatever_their_colours() -> None:
    style = Style(coloured=True)
    lines = table(("A", "BB", "C"), [(style.good("long"), 1, None), ("x", "", style.bad("end"))])
    assert lines[0] == "A      BB   C"
    assert lines[1].replace(GREEN, "").replace(PLAIN, "") == "long   1    -"
    assert lines[2].replace(RED, "").replace(PLAIN, "") == "x      -    end"


def test_facts_that_say_nothing_are_left_out() -> None:
    assert facts([("Name", "x"), ("Longer", ""), ("B", "y")]) == ["Name   x", "B      y"]
    assert facts([]) == []


def test_without_a_terminal_there_are_no_colours() -> None:
    assert Style(coloured=False).bad("x") == "x"
    assert Style(coloured=True).bad("x") == f"{RED}x{PLAIN}"


@pytest.mark.parametrize(
    ("conditions", "colour"),
    [
        ({"Ready": "True"}, "good"),
        ({"Ready": "False", "Stalled": "True"}, "bad"),
        ({"Ready": "False"}, "waits"),
        ({}, "waits"),
    ],
)
def test_the_colour_says_whether_waiting_helps(conditions: dict[str, str], colour: str) -> None:
    style = Style(coloured=True)
    obj = {"status": {"conditions": [{"type": kind, "status": status} for kind, status in conditions.items()]}}
    assert style.ready(obj, "x") == getattr(style, colour)("x")


def test_how_long_ago_something_was() -> None:
    assert since(at(-90), NOW) == "1m30s"
    assert since("", NOW) == "-"


def test_the_last_failure_is_shown_with_its_exit_code_and_age() -> None:
    failure = {"reason": "OutOfMemory", "message": "killed", "component": "compile", "exitCode": 137, "time": at(-60)}
    ready = {"type": "Ready", "status": "False", "reason": "OutOfMemory", "message": "m", "lastTransitionTime": at(-60)}
    status = {"conditions": [ready], "lastFailure": failure, "observedGeneration": 1, "revision": {"updated": "b"}}
    text = "\n".join(overview({**a_service(), "status": status}, None, Style(coloured=False), NOW))
    assert "OutOfMemory (compile, exit code 137, 1m ago): killed" in text
    assert "none, to be replaced by b" in text
    assert "none: nothing is compiled" in text


def a_bank(name: str, **seconds: int) -> Object:
    entries = [{"key": key, "state": "Kept", "seconds": spent} for key, spent in seconds.items()]
    return {"metadata": {"name": name}, "spec": {}, "status": {"entries": entries}}


KNOWN = a_bank("known", **{"128x128b1": 40, "512x512b1": 600})
OWN = a_bank("own", **{"128x128b1": 60})
NEW: Object = {"metadata": {"name": "new"}, "spec": {}}


@pytest.mark.parametrize(
    ("keys", "banks", "text"),
    [
        (["128x128b1"], [KNOWN], "about 40s, measured before: 128x128b1 of bank known"),
        (["128x128b1"], [NEW, KNOWN], "about 40s, measured before: 128x128b1 of bank known"),
        (["128x128b1"], [OWN, KNOWN], "about 1m, measured before: 128x128b1 of bank own"),
        (["128x128b2"], [KNOWN], "about 1m20s, by pixels and batch from 128x128b1 of bank known"),
        (
            ["512x512b1", "128x128b2"],
            [KNOWN],
            "about 11m20s, measured before: 512x512b1 of bank known; by pixels and batch from 128x128b1 of bank known",
        ),
        (["128x128b1"], [NEW], "unknown: no bucket was measured on this accelerator yet"),
        (["128x128b1"], [], "unknown: no bucket was measured on this accelerator yet"),
    ],
)
def test_compiling_is_estimated_from_the_seconds_that_buckets_took(
    keys: list[str], banks: list[Object], text: str
) -> None:
    assert estimate.compiling(keys, banks) == text


def test_replacing_is_estimated_by_the_latest_start_and_the_rounds_it_takes() -> None:
    spec = resolved({"replicas": 5, "rollout": {"maxUnavailable": 2}}).spec
    status = {
        "coldStart": {"scheduleSeconds": 1, "pullSeconds": 2, "loadSeconds": 16, "warmSeconds": 1, "compileSeconds": 9}
    }
    assert estimate.replacing(spec, status).startswith("about 1m: the latest start of one took 20s, and up to 7m")
    assert estimate.replacing(spec, {}).startswith("unknown: it was never measured, and up to 7m")


def test_a_merge_patch_takes_away_what_is_null_and_replaces_lists() -> None:
    spec = {"a": 1, "b": {"c": 1, "d": 2}, "e": [1, 2]}
    assert applied(spec, {"a": None, "b": {"c": None, "f": 3}, "e": [3], "g": {"h": None, "i": 1}}) == {
        "b": {"d": 2, "f": 3},
        "e": [3],
        "g": {"i": 1},
    }


def a_kubeconfig(folder: Path, **namespaces: str) -> Path:
    names = list(namespaces)
    contexts = [
        {"name": name, "context": {"cluster": "c", "user": "u", **({"namespace": value} if value else {})}}
        for name, value in namespaces.items()
    ]
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://example.invalid"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": contexts,
        "current-context": names[0],
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(config))
    return path


def test_the_namespace_is_that_of_the_context(tmp_path: Path) -> None:
    path = a_kubeconfig(tmp_path, first="team", second="", third="other")
    assert current_namespace(path) == "team"
    assert current_namespace(path, "second") == "default"
    assert current_namespace(path, "third") == "other"
    with pytest.raises(Unavailable, match="there is no context 'fourth' in the kubeconfig; there are: first, second"):
        current_namespace(path, "fourth")


def test_without_a_kubeconfig_it_says_so_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["banks", "--kubeconfig", str(tmp_path / "absent")]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: NoCredentials: no API server is configured")


def test_a_wrong_command_line_is_answered_with_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["plan"])
    assert ended.value.code == 2
    assert "usage: kubectl sdxl plan" in capsys.readouterr().err


def test_the_help_of_a_rollback_warns_of_gitops(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["rollback", "--help"])
    assert ROLLBACK in capsys.readouterr().out
    assert "with GitOps (Argo CD, Flux) the next sync" in ROLLBACK


def test_the_program_is_installed_under_the_name_by_which_kubectl_finds_it() -> None:
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["kubectl-sdxl"].partition(":")
    assert getattr(importlib.import_module(module), name) is main


def a_program(folder: Path, text: str) -> None:
    path = folder / "kubectl"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)


async def test_kubectl_is_called_with_the_connection_and_answers_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    kubectl = InstalledKubectl(["--context=c"])
    with pytest.raises(CommandError, match="kubectl is not in PATH, and `apply` is its work"):
        await kubectl.read(["apply"])
    a_program(tmp_path, "import sys; print(sys.argv[1:])")
    assert await kubectl.read(["apply", "-f", "x"]) == "['apply', '-f', 'x', '--context=c']\n"
    a_program(tmp_path, "import sys; sys.exit('error: no such file')")
    with pytest.raises(CommandError, match=r"^error: no such file$"):
        await kubectl.read(["apply"])
    with pytest.raises(CommandError, match="kubectl logs ended with 1"):
        await kubectl.show(["logs"])


async def test_what_kubectl_shows_goes_straight_to_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    a_program(tmp_path, "print('a line')")
    await asyncio.wait_for(InstalledKubectl([]).show(["logs"]), timedelta(seconds=30).total_seconds())
    assert capfd.readouterr().out == "a line\n"
