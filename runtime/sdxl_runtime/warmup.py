"""Every bucket run once with its real batch and guidance, and measured: afterwards nothing compiles.

Its picture is compared with the bank's reference, which is what eager painted where the entry was made. A bucket that
paints another one with its entry, and the recorded one without, runs without. One that paints another either way has
other weights or another runtime than the bank was made with, and the process does not become ready.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from sdxl_runtime.buckets import Bucket, Cost
from sdxl_runtime.health import LOADED, PICTURE_DIFFERS, Health, Outcome, PictureResult
from sdxl_runtime.jobs import Job
from sdxl_runtime.metrics import Metrics
from sdxl_runtime.painter import Painter
from sdxl_runtime.reference import Latents, NoReference, Reference, References, difference
from sdxl_runtime.termination import Failure, Reason

STEPS = 4
NO_ENTRY = NoReference("it runs without an entry of the bank")
_T = TypeVar("_T")

log = logging.getLogger(__name__)


class WarmUp:
    """Makes buckets ready, one after the other, in the engine's thread. What was compared is let go of."""

    def __init__(self, health: Health, metrics: Metrics, scheduler: str, references: References) -> None:
        self._health = health
        self._metrics = metrics
        self._scheduler = scheduler
        self._references = references

    def run(self, painter: Painter, bucket: Bucket, serving: bool = False) -> Cost:
        """Run a bucket, without its entry where that fails or paints another picture; returns what it costs then.

        While `serving`, an entry that was published later ends nothing: without it the bucket runs as it did before.

        Raises:
            Failure: `PictureDiffers`, also without the entry; never while `serving`.
        """
        self._health.warming(bucket)
        reference = self._references.pop(bucket, NO_ENTRY)
        try:
            cost = measure(painter, bucket, self._scheduler)
            picture = compare(painter, bucket, reference)
        except Exception as error:
            entry = self._health.row(bucket)
            if entry.entry != LOADED:
                raise
            log.warning("%s does not run with the bank's entry", bucket.key, exc_info=error)
            painter.release(bucket)
            why = f"the entry of the bank failed at its first run: {error}"
            self._health.refused(bucket, painter.plain, why, entry.digest)
            cost, picture = measure(painter, bucket, self._scheduler), PictureResult(Outcome.SKIPPED, NO_ENTRY.why)
        if picture.outcome is Outcome.DIFFERS and isinstance(reference, Reference):
            picture = self._without_entry(painter, bucket, reference, picture, serving)
            cost = measure(painter, bucket, self._scheduler)
        self._tell(bucket, picture)
        self._health.warmed(bucket, cost.step * 1000)
        self._metrics.warmed(bucket.key, self._health.backend(bucket), cost.step * 1000)
        self._metrics.entry(bucket.key, self._health.row(bucket).entry)
        return cost

    def _without_entry(
        self, painter: Painter, bucket: Bucket, reference: Reference, compiled: PictureResult, serving: bool
    ) -> PictureResult:
        """Let go of the entry, if the picture is the recorded one without it; returns what is told of the entry."""
        digest = self._health.row(bucket).digest
        painter.release(bucket)
        plain = compare(painter, bucket, reference)
        if plain.outcome is Outcome.DIFFERS and not serving:
            self._tell(bucket, compiled)
            raise Failure(
                Reason.PICTURE_DIFFERS,
                f"the picture of {bucket.key} differs from the one that its bank was made with, {compiled.why}, and "
                f"without the bank's entry {plain.why}: these are not the weights, or not the runtime, of that bank",
                bucket.key,
            )
        without = f"without it {plain.why}" if plain.outcome is Outcome.DIFFERS else "without it the picture is right"
        why = f"with the entry of the bank the picture differs from the recorded one {compiled.why}; {without}"
        log.warning("%s: %s", bucket.key, why)
        self._health.refused(bucket, painter.plain, why, digest, PICTURE_DIFFERS)
        return PictureResult(Outcome.DIFFERS, why, compiled.difference, compiled.seconds + plain.seconds)

    def _tell(self, bucket: Bucket, picture: PictureResult) -> None:
        self._health.compared(bucket, picture)
        self._metrics.compared(bucket.key, picture.outcome)


def measure(painter: Painter, bucket: Bucket, scheduler: str) -> Cost:
    """Run all stages of a full batch of a bucket; the fastest of a few evaluations is its cost."""
    refine = painter.refines
    job = Job("warm-up", None, (bucket,), bucket.batch, 0, STEPS, 5.0, scheduler, refine=refine)
    encode, rows = _timed(painter, lambda: painter.encode(job, bucket, range(bucket.batch)))
    steps = []
    while not rows[0].done:
        steps.append(_timed(painter, lambda: painter.step(bucket, rows))[0])
        painter.preview(rows[0])
    painter.decode(rows[0])
    decode, _ = _timed(painter, lambda: painter.decode(rows[-1]))
    return Cost(min(steps), encode / bucket.batch + decode)


def compare(painter: Painter, bucket: Bucket, reference: Reference | NoReference) -> PictureResult:
    """Paint the recorded jobs as one full batch, and compare their latents with the recorded ones."""
    if isinstance(reference, NoReference):
        return PictureResult(Outcome.SKIPPED, reference.why)

    def paint() -> list[Latents]:
        rows = [row for job in reference.pictures.jobs(bucket) for row in painter.encode(job, bucket, [0])]
        while not rows[0].done:
            painter.step(bucket, rows)
        return [painter.latents(row) for row in rows]

    seconds, painted = _timed(painter, paint)
    found, allowed = difference(reference.latents, np.stack(painted)), reference.tolerance
    if not found.exceeds(allowed):
        return PictureResult(Outcome.PASSED, "", found.to_json(), seconds)
    why = f"by {found}, allowed are {allowed.latent_maximum} and {allowed.psnr} dB"
    return PictureResult(Outcome.DIFFERS, why, found.to_json(), seconds)


def _timed(painter: Painter, work: Callable[[], _T]) -> tuple[float, _T]:
    painter.synchronise()
    began = time.perf_counter()
    result = work()
    painter.synchronise()
    return time.perf_counter() - began, result
