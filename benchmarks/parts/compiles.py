"""What is compiled after the runtime says that it is ready, while every bucket serves every scheduler.

Three witnesses: files that torch's compiler writes into its cache folder, which is empty at the start; traces that
torch logs; and the runtime's own counter.
"""

import re
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.context import BUCKETS, Context, alike, run_closed, say
from benchmarks.figures import Figure, Must
from benchmarks.systems import ours
from sdxl_runtime.bench.schedule import Workload
from sdxl_runtime.protocol import SCHEDULERS

NAMES = ("compiles after ready",)
_MUST = Must("==", 0)
_STEPS = 3
_TRACE = re.compile(rb"(start|done) tracing|Compiling|compile_fx", re.IGNORECASE)
_COUNTER = re.compile(r"^sdxl_recompiles (\S+)", re.MULTILINE)


def measure(context: Context) -> list[Figure]:
    """The largest count of the three."""
    with tempfile.TemporaryDirectory() as cache:
        watched = {"TORCHINDUCTOR_CACHE_DIR": cache, "TORCH_LOGS": "+dynamo,+inductor"}
        with ours(context.model, BUCKETS, context.logs, context.bank, watched) as server:
            files, logged = _files(cache), server.log.stat().st_size
            before = _counted(server.get("/metrics").decode())
            say(f"{len(BUCKETS)} buckets × {len(SCHEDULERS)} schedulers")
            served: dict[str, int] = {}
            for bucket in BUCKETS:
                for scheduler in SCHEDULERS:
                    asked = {"scheduler": scheduler, "batch": bucket.batch, "n": min(bucket.batch, 10)}
                    records = run_closed(server.url, _with(alike(_STEPS), asked), 1, 1)
                    if not records[0].ok or records[0].bucket != bucket.key:
                        raise RuntimeError(f"{asked}: {records[0].status} {records[0].error} {records[0].bucket}")
                    served[bucket.key] = served.get(bucket.key, 0) + 1
            after = _counted(server.get("/metrics").decode())
            found: dict[str, Any] = {
                "filesOfTheCompiler": _files(cache) - files,
                "tracesLogged": len(_TRACE.findall(server.log.read_bytes()[logged:])),
                "countedByTheRuntime": None if after is None else after - (before or 0),
            }
            backends = {str(bucket["key"]): bucket["backend"] for bucket in server.buckets}
    value = max(count for count in found.values() if count is not None)
    return [Figure(NAMES[0], value, "compiles", _MUST, {**found, "requestsByBucket": served, "backends": backends})]


def _with(workload: Workload, extra: dict[str, object]) -> Workload:
    return Workload(workload.sizes, workload.steps, workload.guidances, extra=extra)


def _files(folder: str) -> int:
    return sum(1 for path in Path(folder).rglob("*") if path.is_file())


def _counted(page: str) -> float | None:
    found = _COUNTER.search(page)
    return float(found[1]) if found else None
