"""Image layouts: a folder or one file, the same bytes each time, and nothing that is damaged comes out."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from sdxl_runtime.oci import Access, reading, writing
from sdxl_runtime.oci.content import MANIFEST, Blob, Descriptor, Manifest, Source, Target, canonical, digest_of
from sdxl_runtime.oci.names import LayoutName
from sdxl_runtime.termination import Failure, Reason

FIRST, SECOND = b"first" * 1000, b"second"
CONFIG = b"{}"


def manifest(*contents: bytes) -> bytes:
    layers = [Descriptor.of(content, "text/plain").to_json() for content in contents]
    config = Descriptor.of(CONFIG, "application/x").to_json()
    return canonical({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})


def store(target: Target, tmp_path: Path, *contents: bytes, tag: str = "v1") -> None:
    for content in (CONFIG, *contents):
        (tmp_path / "content").write_bytes(content)
        target.push(Blob(Descriptor.of(content, "text/plain"), tmp_path / "content"))
    target.publish(manifest(*contents), tag, "application/x")


@pytest.fixture(params=["folder", "file.tar"])
def name(request: pytest.FixtureRequest, tmp_path: Path) -> LayoutName:
    found = LayoutName(tmp_path / request.param)
    with writing(found, Access()) as target:
        store(target, tmp_path, FIRST, SECOND)
    return found


def taken(source: Source, reference: str, tmp_path: Path) -> list[bytes]:
    content = source.manifest(reference)
    assert content is not None
    found = []
    for layer in Manifest.parse(content).layers:
        source.fetch(layer, tmp_path / layer.digest)
        found.append((tmp_path / layer.digest).read_bytes())
    return found


@pytest.mark.parametrize("reference", ["", "v1", digest_of(manifest(FIRST, SECOND))])
def test_what_was_stored_is_read_by_tag_by_digest_or_as_the_only_one(
    name: LayoutName, tmp_path: Path, reference: str
) -> None:
    with reading(name, Access()) as source:
        assert taken(source, reference, tmp_path) == [FIRST, SECOND]
        assert source.manifest("v2") is None


def test_the_same_content_makes_the_same_file(tmp_path: Path) -> None:
    files = [tmp_path / "one.tar", tmp_path / "two.tar"]
    for path in files:
        with writing(LayoutName(path), Access()) as target:
            store(target, tmp_path, FIRST, SECOND)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_other_tools_find_what_they_look_for(name: LayoutName, tmp_path: Path) -> None:
    folder = name.path
    if name.is_archive:
        folder = tmp_path / "unpacked"
        with tarfile.open(name.path) as tar:
            tar.extractall(folder, filter="data")
    assert json.loads((folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((folder / "index.json").read_text())
    assert index["manifests"][0]["annotations"] == {"org.opencontainers.image.ref.name": "v1"}
    assert index["manifests"][0]["artifactType"] == "application/x"
    for path in (folder / "blobs" / "sha256").iterdir():
        assert digest_of(path.read_bytes()) == f"sha256:{path.name}"


def test_a_file_of_another_tools_making_is_read(tmp_path: Path) -> None:
    with writing(LayoutName(tmp_path / "folder"), Access()) as target:
        store(target, tmp_path, FIRST)
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(tmp_path / "folder", ".")
    with reading(LayoutName(tmp_path / "other.tar"), Access()) as source:
        assert taken(source, "v1", tmp_path) == [FIRST]


def test_a_folder_holds_several_and_a_tag_names_the_last_that_had_it(tmp_path: Path) -> None:
    name = LayoutName(tmp_path / "folder")
    with writing(name, Access()) as target:
        store(target, tmp_path, FIRST)
        store(target, tmp_path, SECOND, tag="v2")
        store(target, tmp_path, FIRST, SECOND)
    with reading(name, Access()) as source:
        assert taken(source, "v1", tmp_path) == [FIRST, SECOND]
        with pytest.raises(Failure, match="name one of: v1, v2"):
            source.manifest("")


def test_signatures_do_not_count_as_artefacts(tmp_path: Path) -> None:
    name = LayoutName(tmp_path / "folder")
    with writing(name, Access()) as target:
        store(target, tmp_path, FIRST)
        store(target, tmp_path, SECOND, tag="sha256-00.sig")
    with reading(name, Access()) as source:
        assert taken(source, "", tmp_path) == [FIRST]


def test_a_damaged_blob_is_stored_anew(tmp_path: Path) -> None:
    name = LayoutName(tmp_path / "folder")
    with writing(name, Access()) as target:
        store(target, tmp_path, FIRST)
        path = name.path / "blobs" / digest_of(FIRST).replace(":", "/")
        path.write_bytes(b"damaged")
        store(target, tmp_path, FIRST)
    assert path.read_bytes() == FIRST


def test_content_that_changes_while_it_is_stored_is_refused(name: LayoutName, tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(b"other")
    wrong = Blob(Descriptor.of(b"these", "text/plain"), tmp_path / "content")
    fresh = LayoutName(name.path.with_name(f"fresh-{name.path.name}"))
    with pytest.raises(Failure, match="damaged"), writing(fresh, Access()) as target:
        target.push(wrong)
    assert not list(tmp_path.rglob("*.partial-*"))
    if fresh.is_archive:
        assert not fresh.path.exists()


@pytest.mark.parametrize("content", [FIRST, SECOND, manifest(FIRST, SECOND)])
def test_every_blob_is_checked_when_it_is_read(tmp_path: Path, content: bytes) -> None:
    name = LayoutName(tmp_path / "folder")
    with writing(name, Access()) as target:
        store(target, tmp_path, FIRST, SECOND)
    path = name.path / "blobs" / digest_of(content).replace(":", "/")
    for position in range(0, len(content), max(len(content) // 40, 1)):
        path.write_bytes(bytes(byte ^ (index == position) for index, byte in enumerate(content)))
        aside = tmp_path / str(position)
        aside.mkdir()
        with reading(name, Access()) as source, pytest.raises(Failure) as failed:
            taken(source, "v1", aside)
        assert failed.value.reason is Reason.ARTIFACT_INVALID


def test_a_blob_that_is_gone_is_named(tmp_path: Path) -> None:
    name = LayoutName(tmp_path / "folder")
    with writing(name, Access()) as target:
        store(target, tmp_path, FIRST)
    (name.path / "blobs" / digest_of(FIRST).replace(":", "/")).unlink()
    with reading(name, Access()) as source, pytest.raises(Failure, match=f"lacks {digest_of(FIRST)}"):
        taken(source, "v1", tmp_path)


@pytest.mark.parametrize("path", ["none", "none.tar"])
def test_where_nothing_is_there_is_no_artefact(tmp_path: Path, path: str) -> None:
    with pytest.raises(Failure) as failed, reading(LayoutName(tmp_path / path), Access()) as source:
        source.manifest("")
    assert failed.value.reason is Reason.ARTIFACT_MISSING


@pytest.mark.parametrize("keep", [0, 1, 511, 600, 5000])
def test_a_file_that_ends_too_early_is_refused(tmp_path: Path, keep: int) -> None:
    name = LayoutName(tmp_path / "file.tar")
    with writing(name, Access()) as target:
        store(target, tmp_path, FIRST, SECOND)
    name.path.write_bytes(name.path.read_bytes()[:keep])
    with pytest.raises(Failure) as failed, reading(name, Access()) as source:
        taken(source, "v1", tmp_path)
    assert failed.value.reason in (Reason.ARTIFACT_INVALID, Reason.ARTIFACT_MISSING)


def test_links_in_a_file_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        link = tarfile.TarInfo("index.json")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        tar.addfile(link, io.BytesIO())
    with (
        pytest.raises(Failure, match=r"no OCI image layout: no index\.json"),
        reading(LayoutName(tmp_path / "evil.tar"), Access()) as source,
    ):
        source.manifest("")


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "sha256:../../../etc/passwd"},
        {"digest": "sha512:" + "0" * 128},
        {"size": -1},
        {"size": "1"},
        {"size": True},
        {"mediaType": None, "digest": None},
        {"annotations": 3},
    ],
)
def test_a_descriptor_that_is_none_is_refused(change: dict[str, object]) -> None:
    good = Descriptor.of(b"x", "text/plain").to_json()
    with pytest.raises(Failure, match="a descriptor cannot be read"):
        Descriptor.from_json({**good, **change})


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"config":{},"layers":3}', b'{"mediaType":"x"}'])
def test_a_manifest_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(Failure) as failed:
        Manifest.parse(content)
    assert failed.value.reason is Reason.ARTIFACT_INVALID
