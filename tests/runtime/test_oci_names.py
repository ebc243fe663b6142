"""How artefacts are named, and whose credentials are for them."""

import base64
import json
from pathlib import Path

import pytest

from sdxl_runtime.oci.credentials import find
from sdxl_runtime.oci.names import LayoutName, RegistryName, parse
from sdxl_runtime.settings import SettingsError

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("oci://host/bank", RegistryName("host", "bank")),
        ("oci://host:5000/team/bank:v1", RegistryName("host:5000", "team/bank", "v1")),
        (f"oci://host/team/bank@{DIGEST}", RegistryName("host", "team/bank", "", DIGEST)),
        (f"oci://h.example/a/b-c/d__e:t@{DIGEST}", RegistryName("h.example", "a/b-c/d__e", "t", DIGEST)),
        ("oci://[::1]:5000/bank:x", RegistryName("[::1]:5000", "bank", "x")),
        ("bank.tar", LayoutName(Path("bank.tar"))),
        ("/srv/my:bank", LayoutName(Path("/srv/my:bank"))),
        ("oci-layout:/srv/bank", LayoutName(Path("/srv/bank"))),
        ("oci-layout:/srv/bank:v1", LayoutName(Path("/srv/bank"), "v1")),
        (f"oci-layout:/srv/bank@{DIGEST}", LayoutName(Path("/srv/bank"), "", DIGEST)),
        (f"./mail@home@{DIGEST}", LayoutName(Path("./mail@home"), "", DIGEST)),
    ],
)
def test_a_name_is_read(text: str, name: RegistryName | LayoutName) -> None:
    assert parse(text) == name
    assert parse(str(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "oci://host",
        "oci://host/Bank",
        "oci://host/a/../b",
        "oci://host/a:b/c",
        "oci://host/b@sha256:ab",
        "oci://host//bank",
        "oci://ho st/bank",
        "oci://user:password@host/bank",
        "https://h/b",
        "oci-layout:",
        f"path@{DIGEST}0",
    ],
)
def test_what_is_no_name_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(SettingsError, match=r"oci://|path"):
        parse(text)


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


AUTH = base64.b64encode(b"u:p:q").decode()


@pytest.mark.parametrize(
    "entry",
    ["host", "https://host", "https://host/v1/", "https://host/v2/", "host/team", "host/team/bank", "http://host/"],
)
def test_an_entry_for_the_host_or_a_part_of_the_path_is_found(tmp_path: Path, entry: str) -> None:
    found = find(written(tmp_path / "c.json", {"auths": {entry: {"auth": AUTH}}}), "host", "team/bank")
    assert found is not None
    assert (found.user, found.password) == ("u", "p:q")


@pytest.mark.parametrize("entry", ["hos", "host:5000", "host/tea", "host/team/bank/other", "other"])
def test_an_entry_for_something_else_is_not(tmp_path: Path, entry: str) -> None:
    assert find(written(tmp_path / "c.json", {"auths": {entry: {"auth": AUTH}}}), "host", "team/bank") is None


def test_the_longest_entry_wins(tmp_path: Path) -> None:
    auths = {name: {"username": name, "password": "p"} for name in ("host", "host/team/bank", "host/team")}
    found = find(written(tmp_path / "c.json", {"auths": auths}), "host", "team/bank")
    assert found is not None
    assert found.user == "host/team/bank"


@pytest.mark.parametrize("host", ["docker.io", "registry-1.docker.io", "index.docker.io"])
def test_docker_hub_has_several_names(tmp_path: Path, host: str) -> None:
    path = written(tmp_path / "c.json", {"auths": {"https://index.docker.io/v1/": {"auth": AUTH}}})
    assert find(path, host, "team/bank") is not None


def test_a_folder_of_pull_secrets_is_read_as_the_kubelet_mounts_it(tmp_path: Path) -> None:
    written(tmp_path / "first.json", {"auths": {"other": {"auth": AUTH}}})
    written(tmp_path / "older.json", {"host": {"auth": AUTH}})
    (tmp_path / "..data").write_text("a link of the kubelet's")
    assert find(tmp_path, "host", "team/bank") is not None
    assert find(tmp_path, "other", "team/bank") is not None


def test_without_a_file_or_an_entry_with_something_in_it_there_are_none(tmp_path: Path) -> None:
    assert find(None, "host", "bank") is None
    assert find(tmp_path / "none.json", "host", "bank") is None
    assert find(written(tmp_path / "c.json", {"auths": {"host": {}}}), "host", "bank") is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"auths": {"host": {"auth": "§"}}}'])
def test_a_file_that_is_none_is_named_without_what_it_holds(tmp_path: Path, content: str) -> None:
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(SettingsError, match="SDXL_REGISTRY_CONFIG"):
        find(tmp_path / "c.json", "host", "bank")


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    found = find(written(tmp_path / "c.json", {"auths": {"host": {"auth": AUTH}}}), "host", "bank")
    assert "p:q" not in repr(found)
