"""That the tests' hub is one: the real clients' own downloads work with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.fakehub import COMMIT, REPOSITORY, FakeHub
from tests.runtime.hub_world import UNET, contents, files_of, hub_of


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with hub_of(files_of("demo://shapes"), monkeypatch, tmp_path / "home") as found:
        yield found


def test_huggingface_hub_downloads_a_snapshot(hub: FakeHub, tmp_path: Path) -> None:
    from huggingface_hub import snapshot_download

    folder = snapshot_download(REPOSITORY, revision=COMMIT, endpoint=hub.endpoint, local_dir=tmp_path / "snapshot")
    found = {path: content for path, content in contents(Path(folder)).items() if not path.startswith(".")}
    assert found == hub.files
    assert f"storage GET /{UNET}" in hub.asked


def test_modelscope_hub_downloads_a_repository(hub: FakeHub, tmp_path: Path) -> None:
    from modelscope_hub import HubApi, HubConfig

    api = HubApi(HubConfig(endpoint=hub.endpoint, cache_dir=tmp_path / "cache", config_dir=tmp_path / "home"))
    folder = api.download_repo(REPOSITORY, "model", revision=COMMIT, local_dir=tmp_path / "snapshot")
    assert contents(Path(folder)) == hub.files
    assert f"storage GET /{UNET}" in hub.asked
