"""What an artefact depends on, as 16 hex digits."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from sdxl_runtime.bank import identify_main, identity
from sdxl_runtime.settings import Backend, CompileMode, Precision, Settings, SettingsError

FACTS = {"chip": "EPYC", "torch": "2.12.1", "compiler": "g++ 12.2.0"}
SETTINGS = Settings(model_digest="sha256:" + "a" * 64, compile_mode=CompileMode.AHEAD_OF_TIME)


class Device:
    def __init__(self, **facts: str) -> None:
        self._facts = {**FACTS, **facts}

    def dtype(self, precision: Precision) -> str:
        if precision is Precision.FP16:
            raise SettingsError("no FP16 here")
        return "torch.bfloat16" if precision is Precision.BF16 else "torch.float32"

    def facts(self) -> Mapping[str, str]:
        return self._facts


def test_it_is_sixteen_hex_digits_and_the_same_every_time() -> None:
    name, fields = identity(SETTINGS, Device())
    assert len(name) == 16
    assert int(name, 16) >= 0
    assert identity(SETTINGS, Device()) == (name, fields)


def test_its_value_is_pinned_so_that_no_change_of_the_runtime_loses_every_bank() -> None:
    assert identity(SETTINGS, Device())[0] == "71346aa7b4850c74"


def test_the_fields_hold_the_facts_and_what_was_resolved() -> None:
    fields = identity(SETTINGS, Device())[1]
    assert fields["torch"] == "2.12.1"
    assert fields["precision"] == "float32"
    assert fields["model"] == SETTINGS.model_digest
    assert fields["manifestFormat"] == "1"


@pytest.mark.parametrize(
    "settings",
    [
        Settings(model_digest="sha256:" + "b" * 64, compile_mode=CompileMode.AHEAD_OF_TIME),
        Settings(model_digest=SETTINGS.model_digest, compile_mode=CompileMode.EAGER),
        Settings(model_digest=SETTINGS.model_digest, compile_mode=CompileMode.AHEAD_OF_TIME, precision=Precision.BF16),
        Settings(model_digest=SETTINGS.model_digest, compile_mode=CompileMode.AHEAD_OF_TIME, model_variant="fp16"),
        Settings(model_digest=SETTINGS.model_digest, compile_mode=CompileMode.AHEAD_OF_TIME, backend=Backend.CUDA),
    ],
    ids=["model", "mode", "precision", "variant", "backend"],
)
def test_what_changes_the_artefact_changes_the_identity(settings: Settings) -> None:
    assert identity(settings, Device())[0] != identity(SETTINGS, Device())[0]


@pytest.mark.parametrize("name", [*FACTS, "driver"])
def test_every_fact_of_the_device_changes_the_identity(name: str) -> None:
    assert identity(SETTINGS, Device(**{name: "other"}))[0] != identity(SETTINGS, Device())[0]


def test_what_does_not_change_the_artefact_does_not_change_the_identity() -> None:
    other = Settings(
        model_digest=SETTINGS.model_digest,
        compile_mode=CompileMode.AHEAD_OF_TIME,
        model_name="another",
        model_path=Path("/elsewhere"),
        minimum_speedup_percent=150,
        default_steps=7,
    )
    assert identity(other, Device())[0] == identity(SETTINGS, Device())[0]


def test_auto_and_the_precision_it_stands_for_are_one_identity() -> None:
    fp32 = Settings(
        model_digest=SETTINGS.model_digest, compile_mode=CompileMode.AHEAD_OF_TIME, precision=Precision.FP32
    )
    assert identity(fp32, Device())[0] == identity(SETTINGS, Device())[0]


def test_the_command_prints_it_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert identify_main(Settings(backend=Backend.SIMULATED)) == 0
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["identity"]) == 16
    assert printed["fields"]["chip"] == "Simulated"
