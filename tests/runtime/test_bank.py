"""The bank on its volume: what is published, what a reader accepts, and what an interrupted writer leaves."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sdxl_runtime.bank import Bank, Entry, Manifest, ManifestError, Missing, State, Why, accepted_entry, file_records
from sdxl_runtime.bank.identity import differences
from sdxl_runtime.buckets import Bucket

IDENTITY = "0123456789abcdef"
BUCKET = Bucket(128, 128, 1)
FIELDS = {"torch": "2.12.1", "chip": "a chip"}


def manifest(folder: Path, state: State = State.KEPT, **changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "identity": IDENTITY,
        "identity_fields": FIELDS,
        "bucket": BUCKET,
        "state": state,
        "files": file_records(folder),
        "measured": {"eagerMilliseconds": 20.4, "compiledMilliseconds": 15.1, "speedupPercent": 135},
        "difference": {"latentMaximum": 1e-5, "psnr": 120.0},
        "tolerance": {"latentMaximum": 0.01, "psnr": 60, "minimumSpeedupPercent": 102},
        "seconds": {"compile": 40.0},
        "created_by": {"runtime": "0.1.0"},
    }
    return Manifest(**{**values, **changes})


def publish(root: Path, identity: str = IDENTITY, content: bytes = b"package", **changes: Any) -> Entry:
    bank = Bank(root, identity)
    with bank.staging(BUCKET) as folder:
        (folder / "unet.pt2").write_bytes(content)
        return bank.publish(folder, manifest(folder, identity=identity, **changes))


def accept(root: Path, digests: Mapping[str, str], identity: str = IDENTITY) -> Path:
    path = root / "accepted.json"
    path.write_text(json.dumps({"identity": identity, "digests": dict(digests)}))
    return path


def why(found: Entry | Missing) -> str:
    assert isinstance(found, Missing), found
    return found.why


def test_a_published_entry_that_was_accepted_is_found(tmp_path: Path) -> None:
    entry = publish(tmp_path)
    found = accepted_entry(tmp_path, accept(tmp_path, {BUCKET.key: entry.digest}), IDENTITY, BUCKET)
    assert isinstance(found, Entry)
    assert found.folder == tmp_path / IDENTITY / "128x128b1"
    assert (found.folder / "unet.pt2").read_bytes() == b"package"


def test_the_digest_is_the_sha256_of_the_manifests_exact_bytes(tmp_path: Path) -> None:
    import hashlib

    entry = publish(tmp_path)
    content = (entry.folder / "manifest.json").read_bytes()
    assert entry.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_the_manifest_has_the_members_of_the_contract(tmp_path: Path) -> None:
    written = json.loads((publish(tmp_path).folder / "manifest.json").read_text())
    assert set(written) == {
        "format",
        "identity",
        "identityFields",
        "bucket",
        "state",
        "files",
        "eagerMilliseconds",
        "compiledMilliseconds",
        "speedupPercent",
        "difference",
        "tolerance",
        "seconds",
        "createdBy",
    }
    assert written["format"] == 1
    assert written["files"]["unet.pt2"]["bytes"] == 7
    assert re.fullmatch(r"[0-9a-f]{64}", written["files"]["unet.pt2"]["sha256"])


def test_a_manifest_reads_back_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "unet.pt2").write_bytes(b"x")
    before = manifest(tmp_path, State.DROPPED, why="slower")
    assert Manifest.from_bytes(before.to_bytes()) == before


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"format":1}', b'{"format":1,"identity":"x","files":[],"bucket":{}}'],
)
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(ManifestError):
        Manifest.from_bytes(content)


def test_a_manifest_of_a_later_format_is_refused_by_its_number() -> None:
    with pytest.raises(ManifestError, match="format is 2; this runtime reads 1"):
        Manifest.from_bytes(b'{"format":2}')


def test_members_that_a_later_runtime_added_are_ignored(tmp_path: Path) -> None:
    later = {**json.loads(manifest(tmp_path).to_bytes()), "aoe": {"generation": 3}}
    assert Manifest.from_bytes(json.dumps(later).encode()).bucket == BUCKET


def test_without_a_bank_there_is_nothing(tmp_path: Path) -> None:
    assert why(accepted_entry(None, None, IDENTITY, BUCKET)) == "no bank is configured"
    assert "there is no bank at" in why(accepted_entry(tmp_path / "none", None, IDENTITY, BUCKET))
    assert "accepted yet" in why(accepted_entry(tmp_path, tmp_path / "none.json", IDENTITY, BUCKET))


def test_an_accepted_entry_of_a_volume_that_was_emptied_is_missing_by_its_digest(tmp_path: Path) -> None:
    digest = publish(tmp_path / "bank").digest
    accepted = accept(tmp_path, {BUCKET.key: digest})
    shutil.rmtree(tmp_path / "bank")
    found = accepted_entry(tmp_path / "bank", accepted, IDENTITY, BUCKET)
    assert isinstance(found, Missing)
    assert (found.reason, found.digest) == (Why.MISSING, digest)
    assert "its volume was emptied" in found.why


def test_of_several_identities_that_were_accepted_a_process_finds_its_own(tmp_path: Path) -> None:
    entry = publish(tmp_path)
    accepted = accept(tmp_path, {BUCKET.key: "sha256:other"}, "0" * 16)
    both = {**json.loads(accepted.read_text()), "others": {IDENTITY: {BUCKET.key: entry.digest}}}
    accepted.write_text(json.dumps(both))
    found = accepted_entry(tmp_path, accepted, IDENTITY, BUCKET)
    assert isinstance(found, Entry)
    assert found.digest == entry.digest
    third = accepted_entry(tmp_path, accepted, "3" * 16, BUCKET)
    assert isinstance(third, Missing)
    assert (third.reason, third.digest) == (Why.STALE, "sha256:other")


def test_an_entry_that_was_not_accepted_is_not_loaded(tmp_path: Path) -> None:
    publish(tmp_path)
    assert "no kept entry for 128x128b1" in why(accepted_entry(tmp_path, accept(tmp_path, {}), IDENTITY, BUCKET))


def test_an_entry_with_another_digest_than_the_accepted_is_stale(tmp_path: Path) -> None:
    publish(tmp_path)
    found = accepted_entry(tmp_path, accept(tmp_path, {BUCKET.key: "sha256:" + "0" * 64}), IDENTITY, BUCKET)
    assert "accepted is sha256:000" in why(found)
    assert isinstance(found, Missing)
    assert found.reason is Why.STALE


def test_an_accepted_entry_that_is_gone_is_missing(tmp_path: Path) -> None:
    found = accepted_entry(tmp_path, accept(tmp_path, {BUCKET.key: "sha256:" + "0" * 64}), IDENTITY, BUCKET)
    assert why(found) == "the bank has no 128x128b1"


def test_another_identity_is_explained_field_by_field(tmp_path: Path) -> None:
    other = "f" * 16
    entry = publish(tmp_path, other, identity_fields={"torch": "2.11.0", "chip": "a chip"})
    accepted = accept(tmp_path, {BUCKET.key: entry.digest}, other)
    found = accepted_entry(tmp_path, accepted, IDENTITY, BUCKET, FIELDS)
    assert why(found).endswith("torch 2.12.1 here, 2.11.0 there")
    assert isinstance(found, Missing)
    assert found.reason is Why.STALE
    assert other in why(accepted_entry(tmp_path, accepted, IDENTITY, BUCKET))


def test_fields_that_only_one_side_has_are_named() -> None:
    assert differences({"cann": "8.5"}, {}) == "cann 8.5 here, absent there"
    assert differences({"variant": ""}, {"variant": "fp16"}) == "variant empty here, fp16 there"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"identity": "x"}', '{"identity":"x","digests":3}'])
def test_an_accepted_file_that_cannot_be_read_accepts_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "accepted.json"
    path.write_text(content)
    assert "cannot be read" in why(accepted_entry(tmp_path, path, IDENTITY, BUCKET))


def test_every_flipped_byte_of_a_package_is_found(tmp_path: Path) -> None:
    entry = publish(tmp_path)
    accepted = accept(tmp_path, {BUCKET.key: entry.digest})
    package = entry.folder / "unet.pt2"
    content = package.read_bytes()
    for position in range(len(content)):
        package.write_bytes(bytes(byte ^ (index == position) for index, byte in enumerate(content)))
        found = accepted_entry(tmp_path, accepted, IDENTITY, BUCKET)
        assert "unet.pt2 is damaged" in why(found)
        assert isinstance(found, Missing)
        assert found.reason is Why.CORRUPT


def test_a_package_that_is_gone_or_cut_is_found(tmp_path: Path) -> None:
    entry = publish(tmp_path)
    accepted = accept(tmp_path, {BUCKET.key: entry.digest})
    (entry.folder / "unet.pt2").write_bytes(b"pack")
    assert "damaged" in why(accepted_entry(tmp_path, accepted, IDENTITY, BUCKET))
    (entry.folder / "unet.pt2").unlink()
    assert "cannot be read" in why(accepted_entry(tmp_path, accepted, IDENTITY, BUCKET))


def test_an_entry_moved_to_another_buckets_name_is_refused(tmp_path: Path) -> None:
    entry = publish(tmp_path)
    other = Bucket(256, 256, 1)
    entry.folder.rename(tmp_path / IDENTITY / other.key)
    found = accepted_entry(tmp_path, accept(tmp_path, {other.key: entry.digest}), IDENTITY, other)
    assert "says it is 128x128b1" in why(found)


def test_a_dropped_entry_is_never_loaded_and_says_why(tmp_path: Path) -> None:
    entry = publish(tmp_path, state=State.DROPPED, why="it runs at 90 % of eager's speed")
    found = accepted_entry(tmp_path, accept(tmp_path, {BUCKET.key: entry.digest}), IDENTITY, BUCKET)
    assert why(found) == "128x128b1 was dropped: it runs at 90 % of eager's speed"


def test_a_bucket_that_was_dropped_is_no_complaint_and_says_why_it_was(tmp_path: Path) -> None:
    publish(tmp_path, state=State.DROPPED, why="it runs at 90 % of eager's speed")
    found = accepted_entry(tmp_path, accept(tmp_path, {}), IDENTITY, BUCKET)
    assert why(found) == "the bank holds no kept entry for 128x128b1: it runs at 90 % of eager's speed"
    assert isinstance(found, Missing)
    assert found.reason is None


def test_what_is_kept_and_not_accepted_yet_is_missing(tmp_path: Path) -> None:
    publish(tmp_path)
    found = accepted_entry(tmp_path, accept(tmp_path, {}), IDENTITY, BUCKET)
    assert isinstance(found, Missing)
    assert found.reason is Why.MISSING


def test_a_reference_is_part_of_the_manifest_and_one_without_is_written_as_before(tmp_path: Path) -> None:
    plain = manifest(tmp_path)
    assert b"reference" not in plain.to_bytes()
    recorded = manifest(tmp_path, reference={"file": "reference.safetensors", "seed": 1})
    assert Manifest.from_bytes(recorded.to_bytes()) == recorded
    assert Manifest.from_bytes(plain.to_bytes()) == plain


def test_staging_that_is_not_published_leaves_nothing(tmp_path: Path) -> None:
    bank = Bank(tmp_path, IDENTITY)
    with bank.staging(BUCKET) as folder:
        (folder / "unet.pt2").write_bytes(b"half")
    assert list((tmp_path / IDENTITY).iterdir()) == []


def test_leftovers_of_killed_writers_are_swept_and_entries_stay(tmp_path: Path) -> None:
    entry = publish(tmp_path)
    for name in (".staging-128x128b1-dead", "ffffffffffffffff/.staging-256x256b1-dead/nested"):
        (tmp_path / IDENTITY / ".." / name).mkdir(parents=True)
    (tmp_path / IDENTITY / ".staging-64x64b1-dead").mkdir()
    assert Bank(tmp_path, IDENTITY).sweep() == 3
    assert entry.folder.is_dir()
    assert not list(tmp_path.rglob(".staging-*"))


def test_staging_is_never_read(tmp_path: Path) -> None:
    bank = Bank(tmp_path, IDENTITY)
    with bank.staging(BUCKET) as folder:
        (folder / "manifest.json").write_bytes(manifest(folder).to_bytes())
        assert isinstance(bank.entry(BUCKET), Missing)


def test_a_damaged_entry_is_replaced_whole(tmp_path: Path) -> None:
    first = publish(tmp_path, content=b"first")
    (first.folder / "unet.pt2").write_bytes(b"worse")
    bank = Bank(tmp_path, IDENTITY)
    assert isinstance(bank.entry(BUCKET), Missing)
    second = publish(tmp_path, content=b"second")
    assert isinstance(bank.entry(BUCKET), Entry)
    assert (second.folder / "unet.pt2").read_bytes() == b"second"
    assert not list(tmp_path.rglob(".staging-*"))


def test_folders_inside_an_entry_are_part_of_it(tmp_path: Path) -> None:
    bank = Bank(tmp_path, IDENTITY)
    with bank.staging(BUCKET) as folder:
        (folder / "cache" / "deep").mkdir(parents=True)
        (folder / "cache" / "deep" / "kernel.o").write_bytes(b"kernel")
        entry = bank.publish(folder, manifest(folder))
    assert list(entry.manifest.files) == ["cache/deep/kernel.o"]
    (entry.folder / "cache" / "deep" / "kernel.o").write_bytes(b"kernal")
    assert "cache/deep/kernel.o is damaged" in why(bank.entry(BUCKET))
