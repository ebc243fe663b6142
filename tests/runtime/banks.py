"""Small banks on a volume, with entries as a Job leaves them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sdxl_runtime.bank import Bank, Entry, Manifest, State, file_records
from sdxl_runtime.bank.identity import name_of
from sdxl_runtime.buckets import Bucket

FIELDS = {"backend": "CPU", "chip": "a chip", "torch": "2.12.1"}
IDENTITY = name_of(FIELDS)
BUCKETS = (Bucket(128, 128, 1), Bucket(160, 96, 4), Bucket(128, 128, 1, 154))
FILES: Mapping[str, bytes] = {"unet.pt2": b"package " * 50, "cache/deep/kernel.o": b"kernel", "cache/empty": b""}


def publish(
    root: Path,
    bucket: Bucket = BUCKETS[0],
    files: Mapping[str, bytes] = FILES,
    fields: Mapping[str, str] = FIELDS,
    speedup_percent: int = 133,
) -> Entry:
    """An entry with its files; without files it is one that was dropped."""
    bank = Bank(root, name_of(fields))
    with bank.staging(bucket) as folder:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content + bucket.key.encode() if content else b"")
        manifest = Manifest(
            identity=name_of(fields),
            identity_fields=dict(sorted(fields.items())),
            bucket=bucket,
            state=State.KEPT if files else State.DROPPED,
            why="" if files else "it runs at 90 % of eager's speed",
            files=file_records(folder),
            measured={"eagerMilliseconds": 20.4, "compiledMilliseconds": 15.1, "speedupPercent": speedup_percent},
            difference={"latentMaximum": 1e-05, "psnr": 120.0},
            tolerance={"latentMaximum": 0.01, "psnr": 60, "minimumSpeedupPercent": 102},
            seconds={"compile": 40.0},
            created_by={"runtime": "0.1.0"},
        )
        return bank.publish(folder, manifest)


def filled(root: Path, buckets: Sequence[Bucket] = BUCKETS) -> Path:
    """A bank with these buckets, the last of them dropped."""
    for bucket in buckets:
        publish(root, bucket, {} if bucket is buckets[-1] else FILES)
    return root


def content(root: Path) -> dict[str, bytes]:
    """Every file of a bank, by its path; locks apart."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith(".lock")
    }
