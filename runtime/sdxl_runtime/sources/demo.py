"""`demo://`: the small model, its refiner and its LoRA, which are part of this package, copied onto the volume."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path

from sdxl_runtime.layout import Layout, check, measure
from sdxl_runtime.lock import locked
from sdxl_runtime.progress import Progress
from sdxl_runtime.settings import ModelContent, Settings, SettingsError
from sdxl_runtime.termination import Failure

SOURCES: Mapping[str, tuple[ModelContent, str]] = {
    "demo://shapes": (ModelContent.PIPELINE, "weights"),
    "demo://shapes-refiner": (ModelContent.REFINER, "refiner"),
    "demo://pixel": (ModelContent.ADAPTER, "pixel"),
}
"""What each source is, and its folder in the package."""

_SHARED = ("scheduler", "text_encoder_2", "tokenizer_2", "vae")
"""What the refiner has of the base model."""


def fetch(settings: Settings, progress: Progress) -> None:
    """Copy the packaged files through a staging folder; done at once where they are there already.

    Raises:
        SettingsError: no such demo source, or another content than it has.
        Failure: the packaged model lacks the files of the variant.
    """
    if settings.model_source not in SOURCES:
        raise SettingsError(f"SDXL_MODEL_SOURCE is {settings.model_source!r}; it must be one of {', '.join(SOURCES)}")
    content, _ = SOURCES[settings.model_source]
    if settings.model_content is not content:
        raise SettingsError(
            f"SDXL_MODEL_CONTENT is {settings.model_content.value!r}; for {settings.model_source} it must be {content}"
        )
    with packaged(settings.model_source) as folder:
        layout = check(folder, settings.model_variant, content)
        copy(layout, settings.model_path, settings.model_variant, progress, content)


@contextmanager
def packaged(source: str) -> Iterator[Path]:
    """The folder of a demo source. The refiner's is put together of links, as it shares files with the base model."""
    content, name = SOURCES[source]
    with as_file(files("sdxl_runtime.demo_model")) as package:
        if content is not ModelContent.REFINER:
            yield package / name
            return
        with tempfile.TemporaryDirectory() as folder:
            for path in [*(package / name).iterdir(), *(package / "weights" / part for part in _SHARED)]:
                (Path(folder) / path.name).symlink_to(path)
            yield Path(folder)


def copy(
    layout: Layout,
    target: Path,
    variant: str,
    progress: Progress,
    content: ModelContent = ModelContent.PIPELINE,
) -> None:
    """Copy a checked model or adapter to the folder `target`, whole or not at all; one writer at a time per target.

    A target that holds something else (an older version of the model) is replaced.
    """
    staging = f".staging-{target.name}-"
    progress.stage("WaitingForLock")
    with locked(target.parent / f".lock-{target.name}", f"fetch of {target.name}", waits_for=progress.waits_for):
        for leftover in target.parent.glob(f"{staging}*"):
            shutil.rmtree(leftover)
        progress.stage("Comparing")
        if _same(layout, target, variant, content):
            return
        progress.stage("Copying")
        progress.transfer(layout.bytes)
        folder = target.parent / f"{staging}{secrets.token_hex(4)}"
        try:
            _copy_files(layout, folder, progress)
            if target.exists():
                target.rename(target.parent / f"{staging}replaced-{secrets.token_hex(4)}")
            folder.rename(target)
        finally:
            for leftover in target.parent.glob(f"{staging}*"):
                shutil.rmtree(leftover, ignore_errors=True)


def _same(layout: Layout, target: Path, variant: str, content: ModelContent) -> bool:
    try:
        return measure(check(target, variant, content)).digest == measure(layout).digest
    except Failure:
        return False


def _copy_files(layout: Layout, folder: Path, progress: Progress) -> None:
    for name in layout.files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(layout.folder / name, path)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        progress.add_bytes(path.stat().st_size)
