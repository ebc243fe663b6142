"""The decision to keep what was made or to drop it, and its entry in the bank. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdxl_runtime import __version__
from sdxl_runtime.bank import Bank, Entry, Manifest, State, file_records
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.compiling.result import Made
from sdxl_runtime.lock import Held
from sdxl_runtime.progress import Progress
from sdxl_runtime.reference import rounded
from sdxl_runtime.settings import Settings
from sdxl_runtime.termination import Failure, Reason


@dataclass(frozen=True, slots=True)
class Writer:
    """Decides and publishes, for one bank that this process has locked."""

    settings: Settings
    bank: Bank
    held: Held
    fields: Mapping[str, str]
    progress: Progress

    def publish(self, folder: Path, bucket: Bucket, made: Made) -> Entry:
        """Keep or drop, then rename the staged folder to the bucket's name.

        Raises:
            Failure: `BankLocked`, another writer took the lock over meanwhile.
        """
        why = self._why_dropped(made)
        if why:
            for path in folder.iterdir():
                path.unlink()
        self.progress.stage("Publishing")
        if not self.held.mine():
            raise Failure(Reason.BANK_LOCKED, f"another writer took over {self.bank.root}", bucket.key)
        return self.bank.publish(folder, self._manifest(bucket, made, why, folder))

    def still_right(self, manifest: Manifest) -> bool:
        """Whether a published decision is still the one that today's minimum speed-up asks for."""
        speedup = float(manifest.measured.get("speedupPercent", 0))
        if manifest.state is State.KEPT:
            return speedup >= self.settings.minimum_speedup_percent
        return speedup < self.settings.minimum_speedup_percent or "differ" in manifest.why

    def _why_dropped(self, made: Made) -> str:
        if made.difference.exceeds(made.tolerance):
            allowed = made.tolerance
            return (
                f"the latents differ from eager's by {made.difference}; "
                f"allowed are {allowed.latent_maximum} and {allowed.psnr} dB"
            )
        minimum = self.settings.minimum_speedup_percent
        if made.speedup_percent < minimum:
            return f"it runs at {made.speedup_percent:.0f} % of eager's speed; at least {minimum} % is asked for"
        return ""

    def _manifest(self, bucket: Bucket, made: Made, why: str, folder: Path) -> Manifest:
        measured: dict[str, Any] = {
            "eagerMilliseconds": rounded(made.eager.minimum),
            "compiledMilliseconds": rounded(made.compiled.minimum),
            "eagerMedianMilliseconds": rounded(made.eager.median),
            "compiledMedianMilliseconds": rounded(made.compiled.median),
            "speedupPercent": int(made.speedup_percent),
        }
        return Manifest(
            identity=self.bank.folder.name,
            identity_fields=self.fields,
            bucket=bucket,
            state=State.DROPPED if why else State.KEPT,
            why=why,
            files=file_records(folder),
            measured=measured,
            difference=made.difference.to_json(),
            tolerance={
                "latentMaximum": made.tolerance.latent_maximum,
                "psnr": made.tolerance.psnr,
                "minimumSpeedupPercent": self.settings.minimum_speedup_percent,
            },
            seconds={name: rounded(value) for name, value in made.seconds.items()},
            created_by={"runtime": __version__, **made.created_by},
            reference={} if why else made.reference,
        )
