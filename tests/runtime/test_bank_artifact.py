"""A bank as an OCI artefact: what its manifest says, and what of a foreign one is believed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdxl_runtime.bank import Entry
from sdxl_runtime.bank.artifact import ARTIFACT_TYPE, Contents, contents, pack, unpacked
from sdxl_runtime.bank.manifest import digest_of
from sdxl_runtime.bank.store import entries, verified
from sdxl_runtime.oci.content import TITLE, Blob, Manifest, canonical
from sdxl_runtime.termination import Failure, Reason
from tests.runtime.banks import FIELDS, IDENTITY, filled

Json = dict[str, Any]
Change = Callable[[Json], None]


def found(root: Path) -> list[Entry]:
    read = [verified(folder) for folder in entries(root, IDENTITY)]
    assert all(isinstance(entry, Entry) for entry in read)
    return [entry for entry in read if isinstance(entry, Entry)]


@pytest.fixture
def packed(tmp_path: Path) -> tuple[Json, Json, list[Blob]]:
    """The manifest, the configuration, and all content."""
    manifest, blobs = pack(found(filled(tmp_path)))
    config = blobs[-1].content
    assert isinstance(config, bytes)
    return json.loads(manifest), json.loads(config), blobs


def read(manifest: Json, config: Json) -> Contents:
    return contents(Manifest.parse(canonical(manifest)), canonical(config))


def titles(manifest: Json) -> list[str]:
    return [layer["annotations"][TITLE] for layer in manifest["layers"]]


def test_every_file_is_a_layer_at_its_place_on_the_volume(packed: tuple[Json, Json, list[Blob]]) -> None:
    manifest, _, _ = packed
    assert manifest["artifactType"] == ARTIFACT_TYPE == "application/vnd.sdxl.tune-bank.v1"
    assert titles(manifest) == [
        f"{IDENTITY}/128x128b1/manifest.json",
        f"{IDENTITY}/128x128b1/cache/deep/kernel.o",
        f"{IDENTITY}/128x128b1/unet.pt2",
        f"{IDENTITY}/128x128b1t154/manifest.json",
        f"{IDENTITY}/160x96b4/manifest.json",
        f"{IDENTITY}/160x96b4/cache/deep/kernel.o",
        f"{IDENTITY}/160x96b4/unet.pt2",
    ]


def test_an_entrys_layer_has_the_digest_that_is_accepted_and_what_was_measured(
    packed: tuple[Json, Json, list[Blob]], tmp_path: Path
) -> None:
    layer = packed[0]["layers"][0]
    assert layer["digest"] == found(tmp_path)[0].digest
    assert layer["annotations"] == {
        TITLE: f"{IDENTITY}/128x128b1/manifest.json",
        "dev.sdxl.bank.bucket": "128x128b1",
        "dev.sdxl.bank.state": "Kept",
        "dev.sdxl.bank.eagerMilliseconds": "20",
        "dev.sdxl.bank.compiledMilliseconds": "15",
        "dev.sdxl.bank.speedupPercent": "133",
    }


def test_the_configuration_is_the_identity_with_its_fields(packed: tuple[Json, Json, list[Blob]]) -> None:
    manifest, config, _ = packed
    assert (config["identity"], config["identityFields"]) == (IDENTITY, FIELDS)
    assert list(config["entries"]) == ["128x128b1", "128x128b1t154", "160x96b4"]
    assert manifest["annotations"]["dev.sdxl.bank.identity"] == IDENTITY
    assert manifest["annotations"]["dev.sdxl.bank.buckets"] == "128x128b1,128x128b1t154,160x96b4"


def test_equal_banks_have_equal_bytes(tmp_path: Path) -> None:
    one, two = (pack(found(filled(tmp_path / name)))[0] for name in ("one", "two"))
    assert one == two


def test_what_was_packed_is_read(packed: tuple[Json, Json, list[Blob]]) -> None:
    manifest, config, blobs = packed
    known = read(manifest, config)
    assert (known.identity, known.fields, known.digest) == (IDENTITY, FIELDS, digest_of(canonical(manifest)))
    assert [entry.key for entry in known.entries] == ["128x128b1", "128x128b1t154", "160x96b4"]
    first, content = known.entries[0], blobs[0].content
    assert isinstance(content, bytes)
    assert set(unpacked(first, content, known).files) == {*first.files, "cache/empty"}


def retitled(title: str) -> Change:
    def change(manifest: Json) -> None:
        manifest["layers"][1]["annotations"][TITLE] = title

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(artifactType="application/other"), "it is a application/other"),
        (retitled("/etc/passwd"), "has the title '/etc/passwd'"),
        (retitled(f"{IDENTITY}/128x128b1/../../../etc/passwd"), "must be once"),
        (retitled(f"{IDENTITY}/../128x128b1/x"), "must be once"),
        (retitled(f"{IDENTITY}/128x128b1"), "must be once"),
        (retitled(f"{IDENTITY}/128x128b1//x"), "must be once"),
        (retitled(f"{IDENTITY}/128x128b1/a\\b"), "must be once"),
        (retitled(f"{IDENTITY}/128x128b1/unet.pt2"), "must be once"),
        (retitled(f"{'0' * 16}/128x128b1/x"), "must be once"),
        (lambda m: m["layers"][1].pop("annotations"), "has the title ''"),
        (lambda m: m["layers"].pop(0), "no manifest.json for 128x128b1"),
        (lambda m: m["layers"].clear(), "no manifest.json for any bucket"),
        (lambda m: m["layers"].pop(3), "its layers others"),
    ],
)
def test_a_manifest_that_is_none_of_a_bank_is_refused(
    packed: tuple[Json, Json, list[Blob]], change: Change, words: str
) -> None:
    manifest, config, _ = packed
    change(manifest)
    with pytest.raises(Failure, match=words.replace("\\", r"\\")) as failed:
        read(manifest, config)
    assert failed.value.reason is Reason.ARTIFACT_INVALID


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(format=2), "its format is 2; this runtime reads 1"),
        (lambda c: c.update(identity="../../../../etc"), "its identity is"),
        (lambda c: c.update(identity="0" * 16), "that of its fields is"),
        (lambda c: c["identityFields"].update(chip="another"), "that of its fields is"),
        (lambda c: c.pop("entries"), "cannot be read"),
        (lambda c: c.update(entries=[]), "cannot be read"),
        (lambda c: c["entries"].update({"64x64b1": "sha256:0"}), "its layers others"),
    ],
)
def test_a_configuration_that_contradicts_itself_or_the_layers_is_refused(
    packed: tuple[Json, Json, list[Blob]], change: Change, words: str
) -> None:
    manifest, config, _ = packed
    change(config)
    with pytest.raises(Failure, match=words):
        read(manifest, config)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: e.update(identity="0" * 16), "says it is 128x128b1 of 0000"),
        (lambda e: e["bucket"].update(width=64), "says it is 64x128b1"),
        (lambda e: e["identityFields"].update(chip="another"), "other identity fields"),
        (lambda e: e["files"].pop("unet.pt2"), "differ in unet.pt2"),
        (lambda e: e["files"]["unet.pt2"].update(bytes=1), "differ in unet.pt2"),
        (lambda e: e["files"]["unet.pt2"].update(sha256="0" * 64), "differ in unet.pt2"),
        (lambda e: e["files"].update(more={"sha256": "0" * 64, "bytes": 3}), "differ in more"),
        (lambda e: e["files"].update({"../x": dict(e["files"]["cache/empty"])}), "differ in"),
        (lambda e: e["files"].update({"manifest.json": dict(e["files"]["cache/empty"])}), "differ in"),
        (lambda e: e.update(format=2), "its format is 2"),
    ],
)
def test_an_entry_that_contradicts_the_bank_is_refused(
    packed: tuple[Json, Json, list[Blob]], change: Change, words: str
) -> None:
    manifest, config, blobs = packed
    known = read(manifest, config)
    content = blobs[0].content
    assert isinstance(content, bytes)
    entry = json.loads(content)
    change(entry)
    with pytest.raises(Failure, match=words):
        unpacked(known.entries[0], canonical(entry), known)
