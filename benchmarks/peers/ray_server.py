"""Ray Serve with batching, as https://docs.ray.io/en/latest/serve/advanced-guides/dyn-req-batch.html shows:
`python -m benchmarks.peers.ray_server FOLDER SIZE PORT`.

A batch is what came within the wait, up to the maximum; requests that are not alike run one group after the other.
"""

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.serve.config import HTTPOptions
from starlette.requests import Request

from benchmarks.peers.painting import (
    BATCH_WAIT_SECONDS,
    MAXIMUM_BATCH,
    THREADS,
    Asked,
    answer,
    load,
    paint_grouped,
    warm_up,
)

_OBJECT_STORE_BYTES = 100_000_000
_ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",  # else a token is written into the home folder; it listens on loopback only
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_agent_register_timeout_ms": "300000",  # on a busy machine 30 s are not enough
    "RAY_raylet_start_wait_time_s": "300",
}
_ATTEMPTS = 3
_MOST_ONGOING = 1000
"""Requests a replica holds; the default of 5 would keep batches small."""


class Images:
    """One replica that owns both threads."""

    def __init__(self, folder: str, size: int) -> None:
        self._pipeline = load(Path(folder))
        warm_up(self._pipeline, size)

    @serve.batch(  # type: ignore[untyped-decorator]
        max_batch_size=MAXIMUM_BATCH, batch_wait_timeout_s=BATCH_WAIT_SECONDS
    )
    async def paint(self, asked: list[Asked]) -> list[bytes]:
        """A PNG for each; in a thread, so that requests are accepted meanwhile."""
        return await asyncio.to_thread(paint_grouped, self._pipeline, asked)

    async def __call__(self, request: Request) -> dict[str, Any]:
        """One request."""
        png: bytes = await self.paint(Asked.from_json(await request.json()))
        return answer(png)


def _start_cluster() -> None:
    """One node on loopback. Ray gives its own processes half a minute, which a busy machine may not keep."""
    os.environ |= _ENVIRONMENT
    for attempt in range(_ATTEMPTS):
        try:
            ray.init(
                address="local",
                num_cpus=THREADS,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                _node_ip_address="127.0.0.1",
            )
        except Exception:
            ray.shutdown()
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return


def main(folder: Path, size: int, port: int) -> None:
    """Serve until the process is told to end, then stop the cluster."""
    ended = threading.Event()
    _start_cluster()
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=port))
    deployment = serve.deployment(max_ongoing_requests=_MOST_ONGOING, ray_actor_options={"num_cpus": THREADS})
    application = deployment(Images).bind(str(folder.resolve()), size)
    serve.run(application, route_prefix="/v1/images/generations")
    for number in (signal.SIGTERM, signal.SIGINT):  # Ray has set handlers of its own, which abort
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
