"""A bank out of one volume and into another: through a registry, a folder or a file, whatever happens on the way."""

import argparse
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sdxl_runtime import compiling
from sdxl_runtime.bank import Bank, Entry, Missing, accepted_entry
from sdxl_runtime.bank.commands import main
from sdxl_runtime.bank.exporting import export
from sdxl_runtime.bank.importing import bring
from sdxl_runtime.bank.moving import fields_here, fill
from sdxl_runtime.bank.store import entries, verified
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.compiling.result import Made
from sdxl_runtime.device.simulated import SimulatedDevice
from sdxl_runtime.lock import Held, locked
from sdxl_runtime.oci import Access, reading, writing
from sdxl_runtime.oci.layout import Folder
from sdxl_runtime.oci.names import LayoutName, parse
from sdxl_runtime.progress import Progress
from sdxl_runtime.settings import Backend, CompileMode, Settings
from sdxl_runtime.termination import Failure, Reason
from tests.runtime.banks import BUCKETS, FIELDS, FILES, IDENTITY, content, filled, publish
from tests.runtime.fake_registry import FakeRegistry, served


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting and no credential of who runs the tests."""
    for name in [name for name in os.environ if name.startswith("SDXL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-docker"))
    monkeypatch.setenv("SDXL_BACKEND", "Simulated")
    monkeypatch.setenv("SDXL_HOST", "127.0.0.1")
    monkeypatch.setenv("SDXL_INTERNAL_PORT", "0")
    monkeypatch.setenv("SDXL_TERMINATION_LOG", str(tmp_path / "termination-log"))
    monkeypatch.setattr("sdxl_runtime.logs.configure", lambda: None)


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    return filled(tmp_path / "bank")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with served(FakeRegistry()) as registry:
        yield registry


def exported(bank: Path, target: str, *more: str) -> None:
    assert main(["export", "--bank", str(bank), target, *more]) == 0


def imported(bank: Path, source: str, *more: str) -> int:
    return main(["import", "--bank", str(bank), source, *more])


def layout(tmp_path: Path, bank: Path) -> Path:
    exported(bank, str(tmp_path / "layout"))
    return tmp_path / "layout"


def test_a_bank_in_a_registry_comes_out_as_it_went_in(bank: Path, fake: FakeRegistry, tmp_path: Path) -> None:
    exported(bank, f"oci://{fake.host}/team/bank:v1")
    assert imported(tmp_path / "other", f"oci://{fake.host}/team/bank:v1") == 0
    assert content(tmp_path / "other") == content(bank)


@pytest.mark.parametrize("target", ["layout", "bank.tar"])
def test_a_bank_in_a_layout_comes_out_as_it_went_in(bank: Path, tmp_path: Path, target: str) -> None:
    exported(bank, str(tmp_path / target))
    assert imported(tmp_path / "other", str(tmp_path / target)) == 0
    assert content(tmp_path / "other") == content(bank)
    digests = {entry.digest for folder in entries(bank, IDENTITY) if isinstance(entry := verified(folder), Entry)}
    others = {e.digest for folder in entries(tmp_path / "other", IDENTITY) if isinstance(e := verified(folder), Entry)}
    assert digests == others
    assert len(digests) == 3


def test_the_digest_is_the_same_each_time_and_wherever_it_goes(
    bank: Path, fake: FakeRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for target in (f"oci://{fake.host}/one", f"oci://{fake.host}/two:t", str(tmp_path / "l"), str(tmp_path / "b.tar")):
        exported(bank, target)
    exported(filled(tmp_path / "copy"), str(tmp_path / "l2"))
    lines = [line for line in capsys.readouterr().out.splitlines() if "@sha256:" in line]
    assert len(lines) == 5
    assert len({line.partition("@")[2] for line in lines}) == 1
    assert f"oci://{fake.host}/one:{IDENTITY}@sha256:" in lines[0], "without a tag it is the identity"


def test_a_printed_name_is_one_that_can_be_imported(
    bank: Path, fake: FakeRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(bank, f"oci://{fake.host}/bank")
    printed = capsys.readouterr().out.splitlines()[0]
    assert imported(tmp_path / "other", printed) == 0
    assert content(tmp_path / "other") == content(bank)


def test_members_of_a_manifest_that_this_runtime_does_not_know_survive(bank: Path, tmp_path: Path) -> None:
    path = bank / IDENTITY / "128x128b1" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "aoe": {"generation": 3}}))
    imported(tmp_path / "other", str(layout(tmp_path, bank)))
    assert (tmp_path / "other" / IDENTITY / "128x128b1" / "manifest.json").read_bytes() == path.read_bytes()


def test_only_what_is_asked_for_is_exported(bank: Path, tmp_path: Path) -> None:
    exported(bank, str(tmp_path / "l"), "--bucket", "160x96b4", "--bucket", "128x128b1")
    imported(tmp_path / "other", str(tmp_path / "l"))
    assert {folder.name for folder in entries(tmp_path / "other", IDENTITY)} == {"160x96b4", "128x128b1"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--bucket", "64x64b1"], "the bank has no 64x64b1"),
        (["--identity", "0" * 16], f"holds {IDENTITY}; name one"),
    ],
)
def test_what_the_bank_does_not_have_is_said_with_what_it_has(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    assert main(["export", "--bank", str(bank), str(tmp_path / "l"), *more]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "l").exists()


def test_of_several_identities_one_has_to_be_named(bank: Path, tmp_path: Path) -> None:
    other = publish(bank, fields={**FIELDS, "torch": "2.11.0"}).folder.parent.name
    assert main(["export", "--bank", str(bank), str(tmp_path / "l")]) == 2
    exported(bank, str(tmp_path / "l"), "--identity", other)


def test_an_entry_in_the_folder_of_another_identity_is_not_exported(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bank / IDENTITY).rename(bank / ("0" * 16))
    assert main(["export", "--bank", str(bank), str(tmp_path / "l")]) == 1
    assert "its own fields are of another identity" in capsys.readouterr().err


def test_credentials_that_are_named_have_to_be_there(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    none = str(tmp_path / "none.json")
    assert main(["export", "--bank", str(bank), "oci://host/bank", "--registry-config", none]) == 2
    assert f"SDXL_REGISTRY_CONFIG is '{none}', which does not exist" in capsys.readouterr().err


def test_a_target_has_a_tag_and_no_digest(bank: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = "oci://host/bank@sha256:" + "ab" * 32
    assert main(["export", "--bank", str(bank), target]) == 2
    assert "give a tag" in capsys.readouterr().err


def test_a_damaged_bank_is_not_exported(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bank / IDENTITY / "128x128b1" / "unet.pt2").write_bytes(b"damaged")
    assert main(["export", "--bank", str(bank), str(tmp_path / "l.tar")]) == 1
    assert "ArtifactInvalid: 128x128b1/unet.pt2 is damaged" in capsys.readouterr().err
    assert list(tmp_path.glob("*l.tar*")) == []


def test_an_entry_that_is_there_is_neither_fetched_nor_replaced(bank: Path, fake: FakeRegistry, tmp_path: Path) -> None:
    exported(bank, f"oci://{fake.host}/bank:v1")
    imported(tmp_path / "other", f"oci://{fake.host}/bank:v1")
    package = tmp_path / "other" / IDENTITY / "128x128b1" / "unet.pt2"
    before, asked = package.stat(), len(fake.asked)
    assert imported(tmp_path / "other", f"oci://{fake.host}/bank:v1") == 0
    assert package.stat().st_ino == before.st_ino
    assert len(fake.asked) - asked == 5, "the manifest, the configuration and what the three entries are"


def test_a_damaged_entry_is_brought_again(bank: Path, tmp_path: Path) -> None:
    source = str(layout(tmp_path, bank))
    imported(tmp_path / "other", source)
    (tmp_path / "other" / IDENTITY / "128x128b1" / "unet.pt2").write_bytes(b"damaged")
    assert imported(tmp_path / "other", source) == 0
    assert content(tmp_path / "other") == content(bank)


def test_an_entry_of_another_digest_gives_way_to_what_was_asked_for(bank: Path, tmp_path: Path) -> None:
    publish(tmp_path / "other", BUCKETS[0], {"unet.pt2": b"measured elsewhere"})
    imported(tmp_path / "other", str(layout(tmp_path, bank)))
    assert content(tmp_path / "other") == content(bank)


def test_another_identity_is_imported_beside_what_is_there(bank: Path, tmp_path: Path) -> None:
    mine = publish(tmp_path / "other", fields={**FIELDS, "torch": "2.11.0"})
    before = content(mine.folder)
    imported(tmp_path / "other", str(layout(tmp_path, bank)))
    assert content(mine.folder) == before
    assert content(tmp_path / "other" / IDENTITY) == content(bank / IDENTITY)


def test_what_was_imported_is_loaded_once_it_is_accepted(bank: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    imported(other, str(layout(tmp_path, bank)))
    entry = verified(other / IDENTITY / "128x128b1")
    assert isinstance(entry, Entry)
    accepted = tmp_path / "accepted.json"
    accepted.write_text(json.dumps({"identity": IDENTITY, "digests": {"128x128b1": entry.digest}}))
    assert isinstance(accepted_entry(other, accepted, IDENTITY, BUCKETS[0]), Entry)


# The Job: what it leaves for the operator.


def job(tmp_path: Path, source: str, **changes: Any) -> dict[str, Any]:
    settings = replace(Settings(backend=Backend.SIMULATED, bank_path=tmp_path / "other", bank_from=source), **changes)
    options = {"source": "", "bank": None, "public_key": None, "registry_config": None, "plain_http": False}
    return dict(fill(settings, argparse.Namespace(**options), Progress()))


def test_the_job_tells_of_the_declared_buckets_and_of_those_that_are_missing(bank: Path, tmp_path: Path) -> None:
    wanted = (BUCKETS[0], BUCKETS[2], Bucket(64, 64))
    message = job(tmp_path, str(layout(tmp_path, bank)), buckets=wanted)
    assert message["identity"] == IDENTITY
    assert [(line["bucket"], line["state"]) for line in message["entries"]] == [
        ("128x128b1", "Kept"),
        ("128x128b1t154", "Dropped"),
        ("64x64b1", "Missing"),
    ]
    entry = verified(bank / IDENTITY / "128x128b1")
    assert isinstance(entry, Entry)
    assert message["entries"][0] == entry.manifest.summary(entry.digest)
    assert message["entries"][2]["why"] == "the artefact holds 128x128b1, 128x128b1t154, 160x96b4"


def test_the_job_tells_of_all_where_none_is_declared(bank: Path, tmp_path: Path) -> None:
    assert len(job(tmp_path, str(layout(tmp_path, bank)))["entries"]) == 3


def test_an_entry_that_is_too_slow_for_who_imports_it_is_dropped_with_the_numbers(bank: Path, tmp_path: Path) -> None:
    line = job(tmp_path, str(layout(tmp_path, bank)), minimum_speedup_percent=140)["entries"][0]
    assert line["state"] == "Dropped"
    assert line["why"] == "it ran at 133 % of eager's speed; at least 140 % is asked for"


def test_a_bank_for_something_else_is_said_to_be_so_field_by_field(bank: Path, tmp_path: Path) -> None:
    message = job(tmp_path, str(layout(tmp_path, bank)))
    assert message["stale"].startswith("the bank was made for something else: backend Simulated here, CPU there; ")
    assert "torch absent here, 2.12.1 there" in message["stale"]


def test_a_bank_for_just_this_is_not_stale(bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = str(layout(tmp_path, bank))
    monkeypatch.setattr("sdxl_runtime.bank.moving.fields_here", lambda settings: FIELDS)
    assert "stale" not in job(tmp_path, source)
    monkeypatch.setattr("sdxl_runtime.bank.moving.fields_here", lambda settings: None)
    assert "stale" not in job(tmp_path, source), "what cannot be known is not said"


@pytest.mark.parametrize("backend", [Backend.NPU, Backend.CUDA])
def test_without_a_card_nobody_says_what_a_card_would(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdxl_runtime.bank.moving.open_device", lambda backend: SimulatedDevice())
    assert fields_here(Settings(backend=backend, model_digest="sha256:1")) is None
    assert fields_here(Settings(backend=Backend.SIMULATED)) is not None


def test_a_pod_gets_the_termination_message_and_the_exit_code(bank: Path, tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    assert imported(tmp_path / "other", str(layout(tmp_path, bank))) == 0
    assert set(json.loads(log.read_text())) == {"identity", "artifact", "entries", "seconds", "stale"}
    assert imported(tmp_path / "other", str(tmp_path / "none")) == 1
    assert json.loads(log.read_text())["error"]["reason"] == "ArtifactMissing"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "SDXL_BANK_FROM is empty"),
        ("https://host/bank", "is no artefact"),
        ("oci://host/bank", "names neither a tag nor a digest"),
    ],
)
def test_a_source_that_is_none_is_a_wrong_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, words: str
) -> None:
    assert imported(tmp_path / "other", source) == 2
    assert words in capsys.readouterr().err


def test_an_artefact_that_is_not_there_is_missing(tmp_path: Path, fake: FakeRegistry) -> None:
    with pytest.raises(Failure) as failed:
        job(tmp_path, f"oci://{fake.host}/bank:v1")
    assert failed.value.reason is Reason.ARTIFACT_MISSING


def test_what_was_imported_is_not_compiled_again(
    tmp_path: Path, fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Settings(
        backend=Backend.SIMULATED,
        compile_mode=CompileMode.AHEAD_OF_TIME,
        buckets=BUCKETS,
        bank_path=tmp_path / "first",
        simulated_compile_seconds=0,
    )
    compiled = compiling.fill(here, Progress())
    exported(tmp_path / "first", f"oci://{fake.host}/bank:v1")
    source = f"oci://{fake.host}/bank:v1"
    message = job(tmp_path, source, buckets=BUCKETS, compile_mode=CompileMode.AHEAD_OF_TIME)
    assert message["entries"] == compiled["entries"]
    assert "stale" not in message
    monkeypatch.setattr(compiling, "SimulatedMaker", lambda seconds: NeverAsked())
    again = compiling.fill(replace(here, bank_path=tmp_path / "other"), Progress())
    assert again["entries"] == compiled["entries"]


class NeverAsked:
    """A maker that there is no work for."""

    def make(self, bucket: Bucket, folder: Path, progress: Progress) -> Made:
        raise AssertionError(f"{bucket.key} is compiled although it was imported")


# Damage and interruptions.


def test_a_flipped_byte_anywhere_in_an_artefact_is_refused(bank: Path, tmp_path: Path) -> None:
    source = layout(tmp_path, bank)
    for blob in sorted((source / "blobs" / "sha256").iterdir()):
        good = blob.read_bytes()
        for position in {0, len(good) // 2, len(good) - 1}:
            blob.write_bytes(bytes(byte ^ (index == position) for index, byte in enumerate(good)))
            assert imported(tmp_path / "other", str(source)) == 1
            assert_whole(tmp_path / "other", bank)
            shutil.rmtree(tmp_path / "other", ignore_errors=True)
        blob.write_bytes(good)
    assert imported(tmp_path / "other", str(source)) == 0


def assert_whole(root: Path, bank: Path) -> None:
    """Every entry that a reader could find is intact and as it was exported."""
    for folder in entries(root, IDENTITY):
        assert isinstance(verified(folder), Entry)
        assert content(folder) == content(bank / IDENTITY / folder.name)


OPERATIONS = [
    (os, "mkdir"),
    (os, "rename"),
    (os, "replace"),
    (os, "fsync"),
    (Path, "open"),
    (Path, "write_bytes"),
    (Path, "rename"),
]
CLEANING = [(shutil, "rmtree"), (Path, "unlink")]


class Killed(BaseException):
    """The process ended here; whatever it would have done afterwards, it does not do."""


def interrupted(monkeypatch: pytest.MonkeyPatch, at: int, work: Callable[[], object], raised: BaseException) -> bool:
    """Do the work and fail at the file operation of this number; False where there are not so many."""
    count = 0

    def counting(original: Callable[..., Any], step: int) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += step
            if count == at or (count > at and isinstance(raised, Killed)):
                raise raised
            return original(*args, **kwargs)

        return wrapper

    def dying(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return None if count >= at and isinstance(raised, Killed) else original(*args, **kwargs)

        return wrapper

    with monkeypatch.context() as patch:
        for owner, name in OPERATIONS:
            patch.setattr(owner, name, counting(getattr(owner, name), 1))
        for owner, name in CLEANING:
            patch.setattr(owner, name, dying(getattr(owner, name)))
        try:
            work()
        except (type(raised), Failure):
            return True
    return count >= at


@pytest.mark.parametrize("raised", [Killed(), OSError(errno.ENOSPC, "No space left on device")], ids=["kill", "full"])
def test_an_import_that_ends_between_any_two_file_operations_leaves_no_half_entry_and_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    bank = filled(tmp_path / "small", BUCKETS[:2])
    source = Folder(layout(tmp_path, bank))
    other, at = tmp_path / "other", 1
    while interrupted(monkeypatch, at, lambda: bring(source, "", other, Progress()), raised):
        assert_whole(other, bank)
        (other / ".lock").unlink(missing_ok=True)  # its owner is this process, which lives
        bring(source, "", other, Progress())
        assert content(other) == content(bank)
        assert not list(other.rglob(".staging-*"))
        shutil.rmtree(other)
        at += 1
    assert at > 20, "there are many file operations"


@pytest.mark.parametrize("target", ["layout", "bank.tar"])
def test_an_export_that_is_killed_leaves_nothing_that_is_read_as_whole(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    name, at = LayoutName(tmp_path / target), 1

    def work() -> None:
        with writing(name, Access()) as store:
            export(bank, "", (), store, "v1")

    while interrupted(monkeypatch, at, work, Killed()):
        found = what_is_there(name, tmp_path / "other")
        assert found in (Reason.ARTIFACT_MISSING, content(bank))
        for path in (tmp_path / "other", tmp_path / "layout"):
            shutil.rmtree(path, ignore_errors=True)
        (tmp_path / "bank.tar").unlink(missing_ok=True)
        at += 1
    assert at > 3
    assert what_is_there(name, tmp_path / "other") == content(bank)


def test_an_import_tells_how_many_bytes_it_fetches_and_those_that_are_there_are_none_of_them(
    bank: Path, tmp_path: Path
) -> None:
    source, other = Folder(layout(tmp_path, bank)), tmp_path / "other"
    first, second, third = Progress(), Progress(), Progress()
    bring(source, "", other, first)
    kept = [entry for folder in entries(bank, IDENTITY) if isinstance(entry := verified(folder), Entry)]
    sizes = {entry.folder.name: sum(file["bytes"] for file in entry.manifest.files.values()) for entry in kept}
    assert (first.state.bytes, first.state.total_bytes) == (sum(sizes.values()), sum(sizes.values()))
    bring(source, "", other, second)
    assert (second.state.bytes, second.state.total_bytes) == (0, 0)
    shutil.rmtree(other / IDENTITY / "128x128b1")
    bring(source, "", other, third)
    assert (third.state.bytes, third.state.total_bytes) == (sizes["128x128b1"], sizes["128x128b1"])


def what_is_there(name: LayoutName, root: Path) -> Reason | dict[str, bytes]:
    """What an import finds, or why it finds nothing."""
    try:
        with reading(name, Access()) as source:
            bring(source, "", root, Progress())
    except Failure as failure:
        return failure.reason
    return content(root)


@pytest.mark.parametrize(
    ("method", "part", "kind", "number"),
    [
        ("GET", "/blobs/", "cut", 10),
        ("GET", "/blobs/", "cut", 0),
        ("GET", "/blobs/", "status", 429),
        ("GET", "/blobs/", "status", 500),
        ("GET", "/blobs/", "drop", 0),
        ("GET", "/manifests/", "cut", 10),
        ("GET", "/manifests/", "status", 503),
    ],
)
def test_a_registry_that_fails_now_and_then_costs_only_time(
    bank: Path, fake: FakeRegistry, tmp_path: Path, method: str, part: str, kind: str, number: int
) -> None:
    exported(bank, f"oci://{fake.host}/bank:v1")
    fake.fails(method, part, kind, number, times=3)
    name = parse(f"oci://{fake.host}/bank:v1")
    with reading(name, Access(pause=lambda seconds: None)) as source:
        bring(source, "v1", tmp_path / "other", Progress())
    assert content(tmp_path / "other") == content(bank)


def test_a_registry_that_lies_about_a_file_leaves_nothing_of_its_entry(
    bank: Path, fake: FakeRegistry, tmp_path: Path
) -> None:
    exported(bank, f"oci://{fake.host}/bank:v1")
    package = next(digest for digest, held in fake.blobs.items() if held.startswith(FILES["unet.pt2"]))
    fake.blobs[package] = fake.blobs[package][:-1] + b"?"
    with pytest.raises(Failure) as failed:
        job(tmp_path, f"oci://{fake.host}/bank:v1")
    assert failed.value.reason is Reason.ARTIFACT_INVALID
    assert_whole(tmp_path / "other", bank)
    assert not list((tmp_path / "other").rglob(".staging-*"))


def test_while_another_writes_nothing_is_imported(bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, other = Folder(layout(tmp_path, bank)), tmp_path / "other"

    def impatient(self: Bank, purpose: str, waits_for: Callable[[str], None]) -> AbstractContextManager[Held]:
        return locked(self.root / ".lock", purpose, wait_seconds=0.1, waits_for=waits_for)

    monkeypatch.setattr(Bank, "lock", impatient)
    with locked(other / ".lock", "compile for a test"), pytest.raises(Failure, match="compile for a test"):
        bring(source, "", other, Progress())
    assert content(other) == {}
    bring(source, "", other, Progress())
    assert content(other) == content(bank)


# Signatures.


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with a private and a public key, and somebody else's public key."""
    for name in ("ours", "theirs"):
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / f"{name}.pem").write_bytes(private)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.pub").write_bytes(public)
    return tmp_path


@pytest.mark.parametrize("where", ["registry", "layout", "bank.tar"])
def test_a_signed_bank_passes_and_another_key_does_not(
    bank: Path, fake: FakeRegistry, tmp_path: Path, keys: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"oci://{fake.host}/bank:v1" if where == "registry" else str(tmp_path / where)
    exported(bank, place, "--sign-key", str(keys / "ours.pem"))
    assert imported(tmp_path / "good", place, "--public-key", str(keys / "ours.pub")) == 0
    assert content(tmp_path / "good") == content(bank)
    assert imported(tmp_path / "bad", place, "--public-key", str(keys / "theirs.pub")) == 1
    assert "SignatureInvalid: none of the 1 signatures" in capsys.readouterr().err
    assert not list((tmp_path / "bad").rglob("*"))


def test_where_a_signature_is_asked_for_an_unsigned_bank_is_refused(bank: Path, tmp_path: Path, keys: Path) -> None:
    with pytest.raises(Failure) as failed:
        job(tmp_path, str(layout(tmp_path, bank)), bank_public_key=(keys / "ours.pub").read_text())
    assert failed.value.reason is Reason.SIGNATURE_INVALID


def test_a_signature_is_there_before_the_tag_is(bank: Path, fake: FakeRegistry, keys: Path) -> None:
    exported(bank, f"oci://{fake.host}/bank:v1", "--sign-key", str(keys / "ours.pem"))
    stored = [line.rpartition("/")[2] for line in fake.asked if line.startswith("PUT") and "/manifests/" in line]
    assert stored[0].startswith("sha256-")
    assert stored[1] == "v1"


def test_signing_does_not_change_the_digest(bank: Path, fake: FakeRegistry, keys: Path) -> None:
    exported(bank, f"oci://{fake.host}/plain:v1")
    exported(bank, f"oci://{fake.host}/signed:v1", "--sign-key", str(keys / "ours.pem"))
    assert fake.manifests["plain", "v1"] == fake.manifests["signed", "v1"]


def test_an_entry_that_is_missing_from_a_bank_is_not_made_up(tmp_path: Path, bank: Path) -> None:
    imported(tmp_path / "other", str(layout(tmp_path, bank)))
    assert isinstance(Bank(tmp_path / "other", IDENTITY).entry(Bucket(64, 64)), Missing)
