"""What the tests of the hubs have in common: the demo model as a repository with more in it, and a fetch of it."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sdxl_runtime.progress import Progress
from sdxl_runtime.settings import ModelContent, Settings
from sdxl_runtime.sources.demo import packaged
from sdxl_runtime.sources.retrying import Patience
from sdxl_runtime.termination import Failure
from tests.runtime.fakehub import COMMIT, REPOSITORY, FakeHub, served

SCHEMES = {"hf": "hub", "modelscope": "modelscope"}
"""Each hub, and the module that fetches from it."""
UNET = "unet/diffusion_pytorch_model.fp16.safetensors"
VAE = "vae/diffusion_pytorch_model.fp16.safetensors"
SMALL = "vae/config.json"
UNET_BYTES, OTHER_BYTES = 1_500_000, 300_000
"""What is left of a file of the abridged model: the UNet stays the largest by far."""

QUICK = Patience(tries=4, first_pause=0.01, longest_pause=0.02, longest_wait=60, timeout=3, copies=2)
"""As in production, in a hurry."""

OTHERS = {
    "README.md": b"a model card",
    ".gitattributes": b"*.safetensors filter=lfs",
    "sd_xl_base_1.0.safetensors": b"all in one file" * 1000,
    "unet/diffusion_pytorch_model.safetensors": b"in fp32" * 1000,
    "unet/diffusion_pytorch_model.fp16.bin": b"pickled" * 1000,
    "unet/model.onnx": b"exported" * 1000,
    "tokenizer/.cache": b"hidden",
    "tokenizer/helper.pkl": b"pickled",
}
"""What a repository has beside the variant's files; none of it may be fetched."""


def files_of(source: str) -> dict[str, bytes]:
    """The files of a demo source."""
    with packaged(source) as folder:
        names = [path for path in folder.rglob("*") if path.is_file()]
        linked = [path for part in folder.iterdir() if part.is_symlink() for path in part.rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in {*names, *linked}}


def abridged(source: str) -> dict[str, bytes]:
    """The files of a demo source with the beginnings of its weights only: `fetch` reads no tensor of a pipeline, and
    what is loaded, checked and written hundreds of times had better be small."""
    kept = {UNET: UNET_BYTES}
    return {path: content[: kept.get(path, OTHER_BYTES)] for path, content in files_of(source).items()}


@contextmanager
def hub_of(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[FakeHub]:
    """A hub with these files that both clients go to, and that knows nothing of this machine's logins."""
    from huggingface_hub.utils import close_session

    for name in ("HF_TOKEN", "MODELSCOPE_API_TOKEN", "MODELSCOPE_DOMAIN", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("MODELSCOPE_HOME", str(home))
    # the client's own tries take seconds, and ours come around them
    monkeypatch.setattr("modelscope_hub._legacy_api.REPO_TREE_PAGE_MAX_ATTEMPTS", 1)
    monkeypatch.setattr("modelscope_hub._legacy_api.REPO_TREE_PAGE_TIMEOUT_SECONDS", 2)
    with served(FakeHub(files)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.endpoint)
        yield hub
    close_session()


def settings_for(target: Path, scheme: str, path: str = "", **change: Any) -> Settings:
    """What `fetch` is told about the repository."""
    source = f"{scheme}://{REPOSITORY}" + (f"/{path}" if path else "")
    usual: dict[str, Any] = {"model_source": source, "model_revision": COMMIT, "model_variant": "fp16"}
    usual |= {"model_path": target, "host": "127.0.0.1", "internal_port": 0}
    if change.get("model_content") is ModelContent.ADAPTER:
        usual["model_variant"] = ""
    return Settings(**{**usual, **change})


def fetch(settings: Settings, patience: Patience = QUICK) -> Progress:
    """Fetch in a hurry; returns what was said of the progress."""
    progress = Progress()
    scheme = settings.model_source.split("://")[0]
    importlib.import_module(f"sdxl_runtime.sources.{SCHEMES[scheme]}").fetch(settings, progress, patience)
    return progress


def failure(settings: Settings, patience: Patience = QUICK) -> Failure:
    """How a fetch fails."""
    with pytest.raises(Failure) as failed:
        fetch(settings, patience)
    return failed.value


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder that are not hidden."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
