"""`sdxl-runtime bank list`, `verify` and `explain`: what is there, whether it is intact, and what it was made for."""

import json
import os
import re
from pathlib import Path

import pytest

from sdxl_runtime.__main__ import main as program
from sdxl_runtime.bank import identity
from sdxl_runtime.bank.commands import main
from sdxl_runtime.bank.listing import age, rows, size, table
from sdxl_runtime.device.simulated import SimulatedDevice
from sdxl_runtime.settings import Backend, Settings
from tests.runtime.banks import FIELDS, IDENTITY, filled, publish

HERE, HERE_FIELDS = identity(Settings(backend=Backend.SIMULATED), SimulatedDevice())


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("SDXL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SDXL_BACKEND", "Simulated")
    monkeypatch.setenv("SDXL_BANK_PATH", str(tmp_path / "bank"))
    monkeypatch.setattr("sdxl_runtime.logs.configure", lambda: None)


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    return filled(tmp_path / "bank")


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_every_entry_is_a_row(bank: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = said(capsys).splitlines()
    assert lines[0].split() == ["IDENTITY", "BUCKET", "STATE", "SPEED-UP", "DIFFERENCE", "AGE", "SIZE", "FILES"]
    assert [line.split()[:3] for line in lines[1:]] == [
        [IDENTITY, "128x128b1", "Kept"],
        [IDENTITY, "128x128b1t154", "Dropped"],
        [IDENTITY, "160x96b4", "Kept"],
    ]
    assert "133 %" in lines[1]
    assert "1e-05" in lines[1]
    assert lines[1].endswith("not read")


def test_for_programs_it_is_json(bank: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--verify", "--json"]) == 0
    first = json.loads(said(capsys))[0]
    assert (first["identity"], first["bucket"], first["state"], first["verified"]) == (
        IDENTITY,
        "128x128b1",
        "Kept",
        True,
    )
    assert first["digest"].startswith("sha256:")
    assert first["difference"] == {"latentMaximum": 1e-05, "psnr": 120.0}


@pytest.mark.parametrize("command", [["verify"], ["list", "--verify"]])
def test_damage_is_found_where_files_are_read(
    bank: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main(command) == 0
    assert "intact" in said(capsys)
    (bank / IDENTITY / "128x128b1" / "unet.pt2").write_bytes(b"damaged")
    assert main(command) == 1
    damaged = next(line for line in said(capsys).splitlines() if "128x128b1 " in line)
    assert "Damaged" in damaged
    assert damaged.endswith("128x128b1/unet.pt2 is damaged: its sha256 is not the manifest's")


def test_a_manifest_that_cannot_be_read_is_damage_even_without_reading_files(bank: Path) -> None:
    (bank / IDENTITY / "128x128b1" / "manifest.json").write_text("{")
    assert main(["list"]) == 1


def test_staging_is_not_listed(bank: Path) -> None:
    (bank / IDENTITY / ".staging-64x64b1-dead").mkdir()
    (bank / IDENTITY / ".staging-64x64b1-dead" / "manifest.json").write_text("{}")
    assert len(rows(bank, verify=True)) == 3


def test_an_empty_bank_is_a_table_without_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--bank", str(tmp_path)]) == 0
    assert said(capsys).splitlines() == [table([])]


def test_age_counts_from_publishing(bank: Path) -> None:
    published = (bank / IDENTITY / "128x128b1" / "manifest.json").stat().st_mtime
    assert rows(bank, verify=False, now=published + 90)[0].age_seconds == pytest.approx(90)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (61, "1m1s"), (3600, "1h"), (90061, "1d1h"), (-5, "0s")]
)
def test_an_age_has_two_units_at_most(seconds: float, text: str) -> None:
    assert age(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")])
def test_a_size_is_as_people_read_it(count: int, text: str) -> None:
    assert size(count) == text


def test_explain_prints_both_names(
    bank: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {"profile": "cpu", "model": {"source": "demo://shapes"}, "compile": {"minimumSpeedupPercent": 102}}
    monkeypatch.setenv("SDXL_BANK_NAME", "cpu-auto-0123456789")
    monkeypatch.setenv("SDXL_BANK_SPEC", json.dumps(spec))
    assert main(["explain"]) == 0
    text = said(capsys)
    assert "known outside: SDXLTuneBank cpu-auto-0123456789" in text
    assert re.search(r"^  model\.source +demo://shapes$", text, re.MULTILINE)
    assert re.search(r"^  compile\.minimumSpeedupPercent  102$", text, re.MULTILINE)
    assert f"read inside: identity {HERE}" in text
    assert all(re.search(rf"^  {name} ", text, re.MULTILINE) for name in HERE_FIELDS)


def test_explain_says_field_by_field_why_what_is_on_the_volume_is_not_usable(
    bank: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain"]) == 0
    text = said(capsys)
    assert "known outside: nothing, SDXL_BANK_NAME is empty" in text
    assert f"on {bank}: identity {IDENTITY}, 3 entries" in text
    assert "not usable here: backend Simulated here, CPU there; chip Simulated here, a chip there" in text


def test_explain_knows_the_bank_that_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(tmp_path / "bank", fields=HERE_FIELDS)
    main(["explain"])
    assert "the same as inside: its entries can be loaded here" in said(capsys)
    main(["explain", "--json"])
    other = json.loads(said(capsys))["others"][0]
    assert (other["identity"], other["entries"], other["differences"]) == (HERE, 1, {})


def test_explain_compares_with_what_identify_printed_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "elsewhere.json"
    path.write_text(json.dumps({"identity": "0" * 16, "fields": {**HERE_FIELDS, "runtime": "9"}}))
    assert main(["explain", str(path), "--json"]) == 0
    differences = json.loads(said(capsys))["others"][-1]["differences"]
    assert differences == {"runtime": {"here": HERE_FIELDS["runtime"], "there": "9"}}


def test_explain_compares_with_an_artefact_without_importing_it(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tmp_path / "b.tar")]) == 0
    said(capsys)
    assert main(["explain", str(tmp_path / "b.tar"), "--bank", str(tmp_path / "none"), "--json"]) == 0
    (other,) = json.loads(said(capsys))["others"]
    assert (other["identity"], other["entries"]) == (IDENTITY, 3)
    assert other["differences"]["chip"] == {"here": "Simulated", "there": FIELDS["chip"]}


def test_explain_takes_an_identity_of_the_volume(bank: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", IDENTITY, "--json"]) == 0
    assert json.loads(said(capsys))["others"][-1]["identity"] == IDENTITY


@pytest.mark.parametrize("content", ["", "[]", '{"identity": "x"}'])
def test_a_file_that_identify_did_not_print_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / "x.json").write_text(content)
    assert main(["explain", str(tmp_path / "x.json")]) == 2
    assert "must hold what `sdxl-runtime identify` prints" in capsys.readouterr().err


def test_a_spec_that_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SDXL_BANK_NAME", "x")
    monkeypatch.setenv("SDXL_BANK_SPEC", "{")
    assert main(["explain"]) == 2
    assert "SDXL_BANK_SPEC is '{'" in capsys.readouterr().err


def test_a_backend_whose_driver_is_not_here_is_said_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SDXL_BACKEND", "NPU")
    assert main(["explain"]) == 2
    assert "SDXL_BACKEND is NPU, but its driver or library is not here" in capsys.readouterr().err


def test_without_a_folder_there_is_no_bank(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("SDXL_BANK_PATH")
    assert main(["list"]) == 2
    assert "SDXL_BANK_PATH is empty" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["burn"], ["list", "--bank"], ["export"]])
def test_a_wrong_command_line_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        program(["bank", *arguments])
    assert exit_.value.code == 2
    assert "usage: sdxl-runtime bank" in capsys.readouterr().err


def test_it_is_a_command_of_the_program(bank: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program(["bank", "verify"]) == 0
    assert "intact" in said(capsys)
