"""How long buckets took to make, and what others should take by that. No torch."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from sdxl_runtime.bank import Entry, Manifest
from sdxl_runtime.bank.store import entries, identities, recorded
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.progress import Outlook


class History:
    """Seconds by bucket, as measured. A bucket that was never made is reckoned from the most similar one that was."""

    def __init__(self, seconds: dict[Bucket, float] | None = None) -> None:
        self._seconds = dict(seconds or {})

    @classmethod
    def of_bank(cls, root: Path, identity: str) -> "History":
        """What a bank's manifests say; where entries of another identity have a bucket too, this identity's count."""
        others = [name for name in identities(root) if name != identity]
        history = cls()
        for manifest in _manifests(root, [*others, identity]):
            history.add(manifest)
        return history

    def add(self, manifest: Manifest) -> None:
        """An entry that was made; one whose manifest tells no seconds teaches nothing."""
        if manifest.making_seconds > 0:
            self._seconds[manifest.bucket] = manifest.making_seconds

    def outlook(self, present: Bucket, left: Sequence[Bucket]) -> Outlook:
        """What the buckets that are left should take; the time of `present` counts only if it is one of them."""
        found = {bucket: estimate for bucket in left if (estimate := self._estimate(bucket)) is not None}
        return Outlook(
            tuple(bucket.key for bucket in left),
            sum(seconds for bucket, (seconds, _) in found.items() if bucket == present),
            sum(seconds for bucket, (seconds, _) in found.items() if bucket != present),
            tuple(sorted({source.key for _, source in found.values()})),
        )

    def _estimate(self, bucket: Bucket) -> tuple[float, Bucket] | None:
        """Its own seconds, else those of the bucket of most nearly its pixels × batch, in proportion; and whose."""
        if bucket in self._seconds:
            return self._seconds[bucket], bucket
        if not self._seconds:
            return None
        source = min(self._seconds, key=lambda other: (abs(math.log(work(bucket) / work(other))), other.key))
        return self._seconds[source] * work(bucket) / work(source), source


def work(bucket: Bucket) -> int:
    """Pixels × batch: by how much buckets differ in what they take."""
    return bucket.width * bucket.height * bucket.batch


def _manifests(root: Path, names: Sequence[str]) -> Iterator[Manifest]:
    for name in names:
        for folder in entries(root, name):
            entry = recorded(folder)
            if isinstance(entry, Entry):
                yield entry.manifest
