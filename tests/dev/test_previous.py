"""Which version an upgrade starts from, in checkouts of all sorts."""

import subprocess
from pathlib import Path

import pytest

from dev import previous
from dev.shell import Failed


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path, path: str, text: str) -> str:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", text)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    monkeypatch.setattr(previous, "ROOT", folder)
    monkeypatch.delenv(previous.UPGRADE_FROM, raising=False)
    return folder


def test_commits_that_shipped_the_same_are_passed_over(checkout: Path) -> None:
    old = commit(checkout, "operator/sdxl_operator/a.py", "1")
    commit(checkout, "operator/sdxl_operator/a.py", "2")
    commit(checkout, "docs/a.md", "3")
    assert previous.commit() == old


def test_with_changes_that_are_not_committed_it_is_the_last_commit(checkout: Path) -> None:
    last = commit(checkout, "charts/sdxl-operator/values.yaml", "1")
    (checkout / "charts/sdxl-operator/values.yaml").write_text("2")
    assert previous.commit() == last


def test_a_version_can_be_named(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = commit(checkout, "runtime/sdxl_runtime/a.py", "1")
    git(checkout, "tag", "v0")
    for text in "23":
        commit(checkout, "runtime/sdxl_runtime/a.py", text)
    monkeypatch.setenv(previous.UPGRADE_FROM, "v0")
    assert previous.commit() == old


def test_a_shallow_checkout_gets_what_it_lacks(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = commit(checkout, "operator/sdxl_operator/a.py", "1")
    commit(checkout, "operator/sdxl_operator/a.py", "2")
    shallow = checkout.parent / "shallow"
    git(checkout.parent, "clone", "-q", "--depth=1", checkout.as_uri(), str(shallow))
    monkeypatch.setattr(previous, "ROOT", shallow)
    assert previous.commit() == old


def test_a_history_without_another_version_is_said(checkout: Path) -> None:
    commit(checkout, "operator/sdxl_operator/a.py", "1")
    with pytest.raises(Failed, match="shipped anything else"):
        previous.commit()


def test_a_folder_that_is_no_checkout_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previous, "ROOT", tmp_path)
    monkeypatch.delenv(previous.UPGRADE_FROM, raising=False)
    with pytest.raises(Failed, match="is no git checkout"):
        previous.commit()


def test_a_version_s_files_come_as_they_were(checkout: Path) -> None:
    old = commit(checkout, "operator/sdxl_operator/a.py", "1")
    commit(checkout, "operator/sdxl_operator/a.py", "2")
    folder = checkout.parent / "old"
    folder.mkdir()
    previous.extract(old, folder)
    assert (folder / "operator/sdxl_operator/a.py").read_text() == "1"
