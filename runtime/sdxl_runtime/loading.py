"""What a process serves with: the device, the model on it, and for every bucket the best graph there is."""

import logging
from collections.abc import Mapping

from sdxl_runtime.bank import Entry, Missing, accepted_entry, identity
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.device import open_device
from sdxl_runtime.health import Health
from sdxl_runtime.painter import Painter
from sdxl_runtime.settings import Backend, CompileMode, Settings
from sdxl_runtime.termination import Failure, Reason

log = logging.getLogger(__name__)


def load_painter(settings: Settings, health: Health) -> Painter:
    """Open the device and load the model and what the bank holds for it; `health` learns how each bucket is run.

    Call it in the thread that will own the device.

    Raises:
        Failure: the model, or a bucket's size, cannot be served; the reason is one of the contract's.
        SettingsError: the device cannot run the precision.
        RuntimeError: the device is not here.
    """
    if settings.backend is Backend.SIMULATED:
        return _load_simulated(settings, health)
    from sdxl_runtime.pipeline.loading import load  # torch and diffusers: only a process that paints pays for them

    device = open_device(settings)
    name, fields = identity(settings, device)
    model = load(settings, device)
    check_sizes(settings, model.size_multiple)
    for bucket in settings.buckets:
        entry = _entry(settings, name, bucket, fields)
        if isinstance(entry, Missing):
            health.bound(bucket, CompileMode.EAGER, entry.why)
            continue
        try:
            model.graphs[bucket.key] = device.load(model.unet, bucket, entry.folder)
        except Exception as error:  # a package can fail in any way; eager always works, and the table says why
            log.warning("%s cannot be loaded from the bank", bucket.key, exc_info=error)
            health.bound(bucket, CompileMode.EAGER, f"the entry of the bank cannot be loaded: {error}")
        else:
            health.bound(bucket, CompileMode.AHEAD_OF_TIME)
    health.loaded(name)
    return model


def check_sizes(settings: Settings, multiple: int) -> None:
    """Every bucket's width and height must suit the model.

    Raises:
        Failure: `InvalidSettings`, naming the first bucket that does not, and the nearest sizes that do.
    """
    for bucket in settings.buckets:
        if bucket.width % multiple or bucket.height % multiple:
            widths, heights = (_around(value, multiple) for value in (bucket.width, bucket.height))
            raise Failure(
                Reason.INVALID_SETTINGS,
                f"the bucket {bucket.key} does not suit the model: width and height must be multiples of {multiple}, "
                f"e.g. width {widths}, height {heights}",
                bucket.key,
            )


def _around(value: int, multiple: int) -> str:
    below = value // multiple * multiple
    return " or ".join(str(near) for near in sorted({max(below, multiple), -(-value // multiple) * multiple}))


def _load_simulated(settings: Settings, health: Health) -> Painter:
    from sdxl_runtime.device.simulated import SimulatedPainter

    name, fields = identity(settings, open_device(settings))
    for bucket in settings.buckets:
        entry = _entry(settings, name, bucket, fields)
        health.bound(bucket, Backend.SIMULATED, entry.why if isinstance(entry, Missing) else "")
    health.loaded(name)
    return SimulatedPainter(settings.simulated_milliseconds, fail_after=settings.simulated_fail_after)


def _entry(settings: Settings, name: str, bucket: Bucket, fields: Mapping[str, str]) -> Entry | Missing:
    if settings.compile_mode is CompileMode.EAGER:
        return Missing("the compile mode is Eager")
    if settings.bank_compiled is not None:
        compiled = accepted_entry(settings.bank_path, settings.bank_compiled, name, bucket, fields)
        if isinstance(compiled, Entry):
            return compiled
    return accepted_entry(settings.bank_path, settings.bank_accepted, name, bucket, fields)
