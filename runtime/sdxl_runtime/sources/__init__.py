"""`fetch`: where a model or an adapter comes from, by its source's scheme; what it leaves is checked and measured."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from sdxl_runtime.layout import check, measure
from sdxl_runtime.progress import Progress, served
from sdxl_runtime.settings import ModelContent, Settings, SettingsError
from sdxl_runtime.termination import run

Source = Callable[[Settings, Progress], None]
"""Puts the model or adapter of `settings.model_source` at `settings.model_path`, whole or not at all."""

SOURCES: Mapping[str, str] = {"demo": "demo", "hf": "hub", "modelscope": "modelscope", "pvc": "local"}
"""The module of each scheme, whose `fetch` is a `Source`; imported when it is asked for, as a hub's client is large."""

HUBS = ("hf", "modelscope")
"""The schemes whose sources have a revision."""


def main(settings: Settings) -> int:
    """Fetch with `/progress` on the internal port; returns the exit code of docs/contract.md."""
    progress = Progress()
    with served(progress, settings.host, settings.internal_port):
        return run(settings.termination_log, lambda: fetch(settings, progress))


def fetch(settings: Settings, progress: Progress) -> dict[str, Any]:
    """Bring the model and measure it; returns the termination message.

    Raises:
        SettingsError: a source of an unknown scheme, a variant of an adapter, or a revision where there is none.
        Failure: `ModelMissing` or `ModelInvalid`, naming the file, or another reason of the source's own.
    """
    scheme, separator, _ = settings.model_source.partition("://")
    if scheme not in SOURCES or not separator:
        known = ", ".join(f"{name}://" for name in SOURCES)
        raise SettingsError(f"SDXL_MODEL_SOURCE is {settings.model_source!r}; it must begin with one of {known}")
    if settings.model_revision and scheme not in HUBS:
        raise SettingsError(f"SDXL_MODEL_REVISION is {settings.model_revision!r}; a {scheme}:// source has none")
    if settings.model_content is ModelContent.ADAPTER and settings.model_variant:
        raise SettingsError(f"SDXL_MODEL_VARIANT is {settings.model_variant!r}; an Adapter has no variants")
    source: Source = importlib.import_module(f"{__name__}.{SOURCES[scheme]}").fetch
    source(settings, progress)
    progress.stage("Checking")
    layout = check(settings.model_path, settings.model_variant, settings.model_content)
    progress.stage("Measuring")
    progress.transfer(layout.bytes)
    measured = measure(layout, progress.add_bytes)
    return {
        "digest": measured.digest,
        "bytes": measured.bytes,
        "files": measured.files,
        "sizeMultiple": layout.size_multiple,
        "seconds": round(progress.seconds),
        **({} if layout.rank is None else {"rank": layout.rank}),
    }
