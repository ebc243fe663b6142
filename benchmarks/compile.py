"""Eager against ahead-of-time, per bucket, on this machine: `python -m benchmarks.compile --model FOLDER`.

Both are timed in turns in one process (ABAB), at the bucket's real batch with guidance. What is written is what was
measured here; threads and machine are part of it.
"""

import argparse
import json
import os
import platform
import re
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.compiling.maker import RealMaker
from sdxl_runtime.device import Device, open_device
from sdxl_runtime.pipeline import Pipeline
from sdxl_runtime.pipeline.loading import load
from sdxl_runtime.progress import Progress
from sdxl_runtime.reference import PICTURES, rounded
from sdxl_runtime.settings import CompileMode, Settings

RESULTS = Path(__file__).parent / "results"
BUCKETS = "128x128b1,160x96b1,96x160b1,128x128b4"


def main() -> None:
    """Measure, print the table, write the JSON."""
    options = _options()
    settings = Settings(
        model_path=options.model,
        model_variant=options.variant,
        buckets=tuple(_bucket(key) for key in options.buckets.split(",")),
        compile_mode=CompileMode.AHEAD_OF_TIME,
    )
    device = open_device(settings)
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        buckets = _measure(settings, device, Path(folder))
        memory = _memory(settings, device, Path(folder))
    result = {**_circumstances(device, options), "buckets": buckets, "memory": memory}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    _print(buckets)
    print(f"memory: {memory}\nwritten to {options.output}")


def _measure(settings: Settings, device: Device, folder: Path) -> list[dict[str, Any]]:
    maker, found = RealMaker(settings, device), []
    for bucket in settings.buckets:
        (folder / bucket.key).mkdir()
        made = maker.make(bucket, folder / bucket.key, Progress())
        files = [path for path in (folder / bucket.key).rglob("*") if path.is_file()]
        found.append(
            {
                "bucket": bucket.key,
                "eagerMilliseconds": rounded(made.eager.minimum),
                "compiledMilliseconds": rounded(made.compiled.minimum),
                "eagerMedianMilliseconds": rounded(made.eager.median),
                "compiledMedianMilliseconds": rounded(made.compiled.median),
                "speedupPercent": int(made.speedup_percent),
                "speedupOfMediansPercent": int(100 * made.eager.median / made.compiled.median),
                "difference": made.difference.to_json(),
                "seconds": {name: round(value, 1) for name, value in made.seconds.items()},
                "packageBytes": sum(path.stat().st_size for path in files),
            }
        )
    return found


def _memory(settings: Settings, device: Device, folder: Path) -> dict[str, Any]:
    """Resident bytes with one compiled bucket and with all, every one run once; milliseconds to load each."""
    pipeline: Pipeline = load(settings, device)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in pipeline.unet.state_dict().values())
    resident, milliseconds, graphs = [], [], []
    for bucket in settings.buckets:
        inputs = pipeline.unet_inputs(bucket, PICTURES.seed)
        started = time.perf_counter()
        graphs.append(device.load(pipeline.unet, bucket, folder / bucket.key))
        milliseconds.append(round((time.perf_counter() - started) * 1e3, 1))
        graphs[-1](*inputs)
        resident.append(_resident_bytes())
    return {
        "unetWeightBytes": weights,
        "residentBytesAfterEachBucket": resident,
        "loadMillisecondsOfEachBucket": milliseconds,
    }


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _circumstances(device: Device, options: argparse.Namespace) -> Mapping[str, Any]:
    return {
        "benchmark": "compile",
        "command": f"python -m benchmarks.compile --model … --threads {options.threads} --buckets {options.buckets}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": {
            "chip": device.facts().get("chip", platform.machine()),
            "processors": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "loadAverage": round(os.getloadavg()[0], 1),
        },
        "facts": dict(device.facts()),
    }


def _print(buckets: list[dict[str, Any]]) -> None:
    print("bucket        eager ms  compiled ms  speed-up  compile s  package KiB")
    for row in buckets:
        print(
            f"{row['bucket']:12} {row['eagerMilliseconds']:9.1f} {row['compiledMilliseconds']:12.1f}"
            f" {row['speedupPercent']:8d}% {row['seconds']['compile']:10.1f} {row['packageBytes'] // 1024:12d}"
        )


def _bucket(key: str) -> Bucket:
    match = re.fullmatch(r"(\d+)x(\d+)b(\d+)", key)
    if match is None:
        raise SystemExit(f"{key!r} is no bucket; write it as 128x128b1")
    return Bucket(*(int(number) for number in match.groups()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder with model_index.json")
    parser.add_argument("--variant", default="", help="e.g. fp16")
    parser.add_argument("--buckets", default=BUCKETS, help=f"default {BUCKETS}")
    parser.add_argument("--threads", type=int, default=0, help="default: what the container may use")
    parser.add_argument("--output", type=Path, default=RESULTS / "compile.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
