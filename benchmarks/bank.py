"""A tune bank of the buckets that are measured, made by `sdxl-runtime compile` and kept under build/."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_runtime.buckets import Bucket

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Filled:
    """A bank, and the file that says which of its entries may be loaded."""

    path: Path
    accepted: Path

    def environment(self) -> dict[str, str]:
        """For `serve`."""
        return {
            "SDXL_COMPILE_MODE": "AheadOfTime",
            "SDXL_BANK_PATH": str(self.path),
            "SDXL_BANK_ACCEPTED": str(self.accepted),
        }


def fill(root: Path, model: Path, buckets: Sequence[Bucket], variant: str = "") -> Filled:
    """Compile what the bank under `root` lacks, minutes for each bucket, and accept what was kept.

    What is kept and what is dropped is decided as in production: a bucket that is not faster compiled runs eagerly.

    Raises:
        RuntimeError: `compile` failed; the message is its own.
    """
    name = f"bank-{model.name}"
    folder, result = root / name, root / f"{name}.json"
    folder.mkdir(parents=True, exist_ok=True)
    result.unlink(missing_ok=True)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SDXL_")},
        "PYTHONPATH": os.pathsep.join([str(ROOT / "runtime"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "TORCHINDUCTOR_CACHE_DIR": str(root / "inductor"),
        "SDXL_BACKEND": "CPU",
        "SDXL_MODEL_PATH": str(model),
        "SDXL_MODEL_VARIANT": variant,
        "SDXL_BUCKETS": json.dumps([bucket.to_json() for bucket in buckets]),
        "SDXL_COMPILE_MODE": "AheadOfTime",
        "SDXL_BANK_PATH": str(folder),
        "SDXL_HOST": "127.0.0.1",
        "SDXL_INTERNAL_PORT": "0",
        "SDXL_TERMINATION_LOG": str(result),
    }
    code = subprocess.run([sys.executable, "-m", "sdxl_runtime", "compile"], env=environment, check=False).returncode
    answer = json.loads(result.read_bytes()) if result.is_file() else {}
    if code != 0 or "entries" not in answer:
        raise RuntimeError(f"compile ended with {code}: {answer.get('error', {}).get('message', 'see above')}")
    digests = {entry["bucket"]: entry["digest"] for entry in answer["entries"] if entry["state"] == "Kept"}
    accepted = root / f"{name}-accepted.json"
    accepted.write_text(json.dumps({"identity": answer["identity"], "digests": digests}, indent=1) + "\n")
    return Filled(folder, accepted)
