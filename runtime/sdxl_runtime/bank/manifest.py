"""`manifest.json`: what one entry of the bank is, its bytes being what the entry's digest is taken over."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from sdxl_runtime.buckets import Bucket

FORMAT = 1
NAME = "manifest.json"


class ManifestError(ValueError):
    """A manifest cannot be read; the message says what is wrong with it."""


class State(StrEnum):
    """What the measurement decided."""

    KEPT = "Kept"
    DROPPED = "Dropped"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One bucket's entry. Milliseconds are minima per UNet evaluation at the batch with guidance."""

    identity: str
    identity_fields: Mapping[str, str]
    bucket: Bucket
    state: State
    why: str = ""
    """Why it was dropped, a sentence; empty where it was kept."""
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Path in the entry → `{"sha256": <64 hex>, "bytes": …}`."""
    measured: Mapping[str, Any] = field(default_factory=dict)
    """`eagerMilliseconds`, `compiledMilliseconds`, `speedupPercent`, and medians beside the minima."""
    difference: Mapping[str, float] = field(default_factory=dict)
    """`latentMaximum` and `psnr` (dB) of the compiled against the eager latents."""
    tolerance: Mapping[str, Any] = field(default_factory=dict)
    """What was asked for: `latentMaximum`, `psnr`, `minimumSpeedupPercent`."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """What making it took, by phase: `load`, `warm`, `export`, `compile`, `measure`, `compare`."""
    created_by: Mapping[str, str] = field(default_factory=dict)
    reference: Mapping[str, Any] = field(default_factory=dict)
    """What its pictures must be: `file` in the entry, and how they were painted; empty in one without (dropped, or made
    by a runtime that recorded none)."""

    @property
    def making_seconds(self) -> float:
        """What this bucket took, without loading the model: a Job does that once for all it makes. 0: unknown."""
        return sum(spent for phase, spent in self.seconds.items() if phase != "load")

    def to_bytes(self) -> bytes:
        """The file's exact bytes."""
        why = {"why": self.why} if self.why else {}
        reference = {"reference": dict(self.reference)} if self.reference else {}
        return (
            json.dumps(
                {
                    "format": FORMAT,
                    "identity": self.identity,
                    "identityFields": dict(self.identity_fields),
                    "bucket": self.bucket.to_json(),
                    "state": self.state.value,
                    **why,
                    "files": {name: dict(self.files[name]) for name in sorted(self.files)},
                    **self.measured,
                    "difference": dict(self.difference),
                    "tolerance": dict(self.tolerance),
                    "seconds": dict(self.seconds),
                    **reference,
                    "createdBy": dict(self.created_by),
                },
                indent=1,
            )
            + "\n"
        ).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Manifest":
        """Read a manifest; members that a later runtime added are ignored.

        Raises:
            ManifestError: it is no JSON object, of another format, or lacks a member.
        """
        try:
            item = json.loads(content)
            if item["format"] != FORMAT:
                raise ManifestError(f"its format is {item['format']}; this runtime reads {FORMAT}")
            return cls(
                identity=item["identity"],
                identity_fields=item["identityFields"],
                bucket=Bucket.from_json(item["bucket"]),
                state=State(item["state"]),
                why=item.get("why", ""),
                files={name: {"sha256": f["sha256"], "bytes": f["bytes"]} for name, f in item["files"].items()},
                measured={
                    key: value for key, value in item.items() if key.endswith(("Milliseconds", "speedupPercent"))
                },
                difference=item.get("difference", {}),
                tolerance=item.get("tolerance", {}),
                seconds=item.get("seconds", {}),
                created_by=item.get("createdBy", {}),
                reference=item.get("reference", {}),
            )
        except ManifestError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ManifestError(f"it is no manifest: {type(error).__name__}: {error}") from None

    def digest(self) -> str:
        """The entry's digest: `sha256:` over the manifest's bytes, which hold the digest of every file."""
        return digest_of(self.to_bytes())

    def summary(self, digest: str) -> dict[str, Any]:
        """The entry's line in the termination message; milliseconds and seconds rounded to integers."""
        milliseconds = {
            name: round(self.measured.get(name, 0)) for name in ("eagerMilliseconds", "compiledMilliseconds")
        }
        return {
            "bucket": self.bucket.key,
            "state": self.state.value,
            "digest": digest,
            **milliseconds,
            "speedupPercent": round(self.measured.get("speedupPercent", 0)),
            "seconds": max(round(self.making_seconds), 1) if self.making_seconds > 0 else 0,
            "why": self.why,
        }


def digest_of(content: bytes) -> str:
    """`sha256:<64 hex>` of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def file_record(path: Path) -> dict[str, Any]:
    """`{"sha256": …, "bytes": …}` of a file."""
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def file_records(folder: Path) -> dict[str, dict[str, Any]]:
    """`Manifest.files` of everything in a staging folder, by path relative to it."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): file_record(path) for path in paths}
