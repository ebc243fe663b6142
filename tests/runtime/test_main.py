"""The command line: sub-commands, exit codes, what is imported when."""

import subprocess
import sys
from pathlib import Path

import pytest

from sdxl_runtime import __main__ as command
from sdxl_runtime.serving import check
from sdxl_runtime.settings import Settings, SettingsError


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdxl_runtime.logs.configure", lambda: None)


@pytest.mark.parametrize(
    ("name", "value"),
    [("SDXL_BUCKETS", "[]"), ("SDXL_BUCKETS", "nonsense"), ("SDXL_PORT", "http"), ("SDXL_BACKEND", "TPU")],
)
def test_wrong_settings_exit_2_with_a_sentence_that_names_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert command.main(["serve"]) == 2
    assert capsys.readouterr().err.startswith(f"sdxl-runtime serve: {name}")


@pytest.mark.parametrize("arguments", [[], ["paint"], ["serve", "fast"]])
def test_a_wrong_command_line_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        command.main(arguments)
    assert exit_.value.code == 2
    assert "usage: sdxl-runtime" in capsys.readouterr().err


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        command.main(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("serve", "compile", "fetch", "identify"))


@pytest.mark.parametrize(
    ("changes", "variable"),
    [
        ({"default_scheduler": "DPM"}, "SDXL_DEFAULT_SCHEDULER"),
        ({"default_steps": 0}, "SDXL_DEFAULT_STEPS"),
        ({"default_steps": 151}, "SDXL_DEFAULT_STEPS"),
        ({"default_guidance_scale": 31.0}, "SDXL_DEFAULT_GUIDANCE_SCALE"),
        ({"buckets": ()}, "SDXL_BUCKETS"),
    ],
)
def test_serve_checks_the_defaults_it_would_give_to_requests(changes: dict[str, object], variable: str) -> None:
    from sdxl_runtime.buckets import Bucket

    with pytest.raises(SettingsError, match=variable):
        check(Settings(**{"buckets": (Bucket(64, 64),), **changes}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("sdxl_runtime.app", ("torch", "diffusers", "transformers")),
        ("sdxl_runtime.serving", ("torch", "diffusers", "transformers")),
        ("sdxl_runtime.device.simulated", ("torch", "diffusers", "fastapi")),
        ("sdxl_runtime.batcher", ("torch", "fastapi", "PIL")),
        ("sdxl_runtime.__main__", ("torch", "fastapi", "uvicorn", "prometheus_client")),
    ],
)
def test_a_module_does_not_bring_what_it_must_not(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*[name for name in {absent!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_root())
    assert found.stdout.strip() == ""


def _root() -> Path:
    return Path(__file__).resolve().parents[2] / "runtime"
