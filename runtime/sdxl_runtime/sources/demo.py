"""`demo://shapes`: the small model that is part of this package, copied onto the volume."""

import os
import secrets
import shutil
from importlib.resources import as_file, files
from pathlib import Path

from sdxl_runtime.layout import Layout, check, measure
from sdxl_runtime.lock import locked
from sdxl_runtime.progress import Progress
from sdxl_runtime.settings import Settings, SettingsError
from sdxl_runtime.termination import Failure

_NAME = "demo://shapes"


def fetch(settings: Settings, progress: Progress) -> None:
    """Copy the packaged weights through a staging folder; done at once where they are there already.

    Raises:
        SettingsError: another demo model than `shapes`.
        Failure: the packaged model lacks the files of the variant.
    """
    if settings.model_source != _NAME:
        raise SettingsError(f"SDXL_MODEL_SOURCE is {settings.model_source!r}; the only demo model is {_NAME}")
    with as_file(files("sdxl_runtime.demo_model") / "weights") as packaged:
        copy(check(packaged, settings.model_variant), settings.model_path, settings.model_variant, progress)


def copy(layout: Layout, target: Path, variant: str, progress: Progress) -> None:
    """Copy a checked model to `target`, whole or not at all; one writer at a time per target.

    A target with other content (an older version of the model) is replaced.
    """
    staging = f".staging-{target.name}-"
    with locked(target.parent / f".lock-{target.name}", f"fetch of {target.name}"):
        for leftover in target.parent.glob(f"{staging}*"):
            shutil.rmtree(leftover)
        progress.stage("Comparing")
        if _same(layout, target, variant):
            return
        progress.stage("Copying")
        folder = target.parent / f"{staging}{secrets.token_hex(4)}"
        try:
            _copy_files(layout, folder, progress)
            if target.exists():
                target.rename(target.parent / f"{staging}replaced-{secrets.token_hex(4)}")
            folder.rename(target)
        finally:
            for leftover in target.parent.glob(f"{staging}*"):
                shutil.rmtree(leftover, ignore_errors=True)


def _same(layout: Layout, target: Path, variant: str) -> bool:
    try:
        return measure(check(target, variant)).digest == measure(layout).digest
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
