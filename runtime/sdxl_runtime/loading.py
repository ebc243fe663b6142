"""What a process serves with: the device, the model on it, and for every bucket the best graph there is."""

import logging
from collections.abc import Mapping
from pathlib import Path

from sdxl_runtime.bank import Entry, Missing, accepted_entry, identity, manifest_path
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.device import open_device
from sdxl_runtime.health import LOADED, Health
from sdxl_runtime.painter import Painter
from sdxl_runtime.reference import NoReference, Reference, References, read
from sdxl_runtime.settings import Backend, CompileMode, PictureCheck, Settings
from sdxl_runtime.termination import Failure, Reason
from sdxl_runtime.warmup import NO_ENTRY

log = logging.getLogger(__name__)


def load_painter(settings: Settings, health: Health, references: References | None = None) -> Painter:
    """Open the device and load the model and what the bank holds for it; `health` learns how each bucket is run.

    `references` learns what the pictures of each bucket must be. Call it in the thread that will own the device.

    Raises:
        Failure: the model, or a bucket's size, cannot be served; the reason is one of the contract's.
        SettingsError: the device cannot run the precision.
        RuntimeError: the device is not here.
    """
    known: References = {} if references is None else references
    if settings.backend is Backend.SIMULATED:
        return _load_simulated(settings, health, known)
    from sdxl_runtime.pipeline.loading import load  # torch and diffusers: only a process that paints pays for them

    device = open_device(settings)
    name, fields = identity(settings, device)
    model = load(settings, device)
    check_sizes(settings, model.size_multiple)
    for bucket in settings.buckets:
        known[bucket] = bind(model, bucket, _entry(settings, name, bucket, fields), health, settings.picture_check)
    health.loaded(name)
    return model


def bind(
    painter: Painter, bucket: Bucket, entry: Entry | Missing, health: Health, check: PictureCheck = PictureCheck.AUTO
) -> Reference | NoReference:
    """Run a bucket with its entry from now on, eagerly where there is none or it cannot be loaded.

    Returns what its pictures must be.
    """
    if isinstance(entry, Missing):
        health.bound(bucket, painter.plain, entry.why, entry.reason or "", entry.digest)
        return NO_ENTRY
    try:
        reference = _reference(entry, check)
        backend = painter.bind(bucket, entry.folder)
    except Exception as error:  # a package can fail in any way; eager always works, and the table says why
        log.warning("%s cannot be loaded from the bank", bucket.key, exc_info=error)
        why = f"the entry of the bank cannot be loaded: {error}"
        health.refused(bucket, painter.plain, why, entry.digest)
        return NO_ENTRY
    health.bound(bucket, backend, entry=LOADED, digest=entry.digest)
    return reference


def _reference(entry: Entry, check: PictureCheck) -> Reference | NoReference:
    if check is PictureCheck.DISABLED:
        return NoReference("SDXL_PICTURE_CHECK is Disabled")
    recorded = entry.manifest.reference
    if not recorded:
        return NoReference("its entry has no reference: it was made by a runtime that recorded none")
    return read(entry.folder, recorded, entry.manifest.tolerance)


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


def _load_simulated(settings: Settings, health: Health, known: References) -> Painter:
    from sdxl_runtime.device.simulated import SimulatedPainter

    name, fields = identity(settings, open_device(settings))
    painter = SimulatedPainter(
        settings.simulated_milliseconds,
        fail_after=settings.simulated_fail_after,
        differs=settings.simulated_picture_differs,
    )
    for bucket in settings.buckets:
        known[bucket] = bind(painter, bucket, _entry(settings, name, bucket, fields), health, settings.picture_check)
    health.loaded(name)
    return painter


class Unbound:
    """The buckets that run without an entry, and what the bank holds for them by now; looked at from one thread."""

    def __init__(self, settings: Settings, health: Health, references: References | None = None) -> None:
        self._settings = settings
        self._health = health
        self._references: References = {} if references is None else references
        self._seen: dict[Bucket, object] = {}

    def look(self) -> list[tuple[Bucket, Entry]]:
        """What was accepted, or made whole again, since the last look; files are read only where something changed."""
        return [found for bucket in self._settings.buckets if (found := self._look_at(bucket)) is not None]

    def bind(self, painter: Painter, bucket: Bucket, entry: Entry) -> None:
        """Run a bucket with an entry that was found; in the thread that owns the device."""
        self._references[bucket] = bind(painter, bucket, entry, self._health, self._settings.picture_check)

    def _look_at(self, bucket: Bucket) -> tuple[Bucket, Entry] | None:
        row, root, name = self._health.row(bucket), self._settings.bank_path, self._health.identity
        accepted = _stamp(self._settings.bank_accepted)
        if row.entry == LOADED or root is None or accepted is None or not name:  # without a name it is still loading
            return None
        seen = accepted, _stamp(manifest_path(root, name, bucket))
        if seen == self._seen.get(bucket):
            return None
        self._seen[bucket] = seen
        entry = _entry(self._settings, name, bucket)
        return (bucket, entry) if isinstance(entry, Entry) and entry.digest != row.refused else None


def _stamp(path: Path | None) -> object:
    """Changes with a file, also where a kubelet swaps the link to it; None where there is none."""
    try:
        return None if path is None else (path.stat().st_ino, path.stat().st_mtime_ns)
    except OSError:
        return None


def _entry(settings: Settings, name: str, bucket: Bucket, fields: Mapping[str, str] | None = None) -> Entry | Missing:
    if settings.compile_mode is CompileMode.EAGER:
        return Missing("the compile mode is Eager", None)
    if settings.bank_compiled is not None:
        compiled = accepted_entry(settings.bank_path, settings.bank_compiled, name, bucket, fields)
        if isinstance(compiled, Entry):
            return compiled
    return accepted_entry(settings.bank_path, settings.bank_accepted, name, bucket, fields)
