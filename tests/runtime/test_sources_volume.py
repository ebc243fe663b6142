"""A model's folder on its volume: published whole, and what others left there."""

import os
from pathlib import Path

import pytest

from sdxl_runtime.lock import locked
from sdxl_runtime.sources import volume
from sdxl_runtime.termination import Failure, Reason

OLD = volume.FORGOTTEN_SECONDS + 60


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "it"


def a_folder(path: Path, content: str = "x", age: float = 0) -> Path:
    """A folder with one file, touched so many seconds ago."""
    (path / "unet").mkdir(parents=True)
    (path / "unet" / "weights").write_text(content)
    for item in (path / "unet" / "weights", path / "unet", path):
        then = item.stat().st_mtime - age
        os.utime(item, (then, then))
    return path


def sweep(target: Path) -> None:
    with locked(volume.lock_of(target), "test"):
        volume.sweep(target)


def test_publishing_gives_the_folder_its_name(target: Path) -> None:
    volume.publish(a_folder(volume.staging_of(target)), target)
    assert (target / "unet" / "weights").read_text() == "x"
    assert [path.name for path in target.parent.iterdir()] == ["it"]


def test_publishing_replaces_what_was_there(target: Path) -> None:
    a_folder(target, "old")
    volume.publish(a_folder(volume.staging_of(target), "new"), target)
    assert (target / "unet" / "weights").read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["it"]


def test_what_was_replaced_when_the_publisher_was_killed_is_swept(target: Path) -> None:
    a_folder(target.parent / f"{volume.staging_of(target).name}-replaced-1234")
    kept = a_folder(volume.staging_of(target))
    sweep(target)
    assert [path.name for path in target.parent.iterdir()] == [kept.name]


def test_what_was_staged_for_another_a_day_ago_is_swept_and_newer_is_not(target: Path) -> None:
    a_folder(target.parent / ".staging-forgotten", age=OLD)
    kept = a_folder(target.parent / ".staging-alive", age=OLD / 2)
    sweep(target)
    assert [path.name for path in target.parent.iterdir()] == [kept.name]


def test_one_new_file_keeps_an_old_folder(target: Path) -> None:
    other = a_folder(target.parent / ".staging-other", age=OLD)
    (other / "unet" / "weights.partial").write_text("comes")
    sweep(target)
    assert other.exists()


def test_what_another_writer_holds_is_never_swept(target: Path) -> None:
    other = a_folder(target.parent / ".staging-other", age=OLD)
    with locked(target.parent / ".lock-other", "a slow one"):
        sweep(target)
    assert other.exists()
    sweep(target)
    assert not other.exists()


def test_the_own_staging_folder_stays_however_old(target: Path) -> None:
    own = a_folder(volume.staging_of(target), age=10 * OLD)
    sweep(target)
    assert own.exists()


def test_room_is_made_out_before_it_is_needed(target: Path) -> None:
    volume.make_room(target.parent, 1)
    with pytest.raises(Failure) as failed:
        volume.make_room(target.parent, 10**18)
    assert failed.value.reason is Reason.VOLUME_FULL
    assert f"{10**18} bytes are still to come" in failed.value.message
