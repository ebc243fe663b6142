"""What keeps the operator turning: workers that give keys their turn, and a re-list that forgets none."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sdxl_operator import metrics, naming
from sdxl_operator.api import KINDS
from sdxl_operator.cluster import Cluster, ClusterError, Unavailable
from sdxl_operator.naming import Key
from sdxl_operator.reconcile import Requeue
from sdxl_operator.workqueue import WorkQueue

log = logging.getLogger(__name__)

Turn = Callable[[Key], Awaitable[Requeue | None]]


async def work(queue: WorkQueue[Key], turn: Turn) -> None:
    """Give one key after the other its turn until the queue stops."""
    while (key := await queue.take()) is not None:
        try:
            await _take_turn(queue, key, turn)
        finally:
            queue.done(key)


async def resync(cluster: Cluster, queue: WorkQueue[Key], namespace: str, seconds: float) -> None:
    """Add every custom resource now and again, so that a missed event does no harm."""
    while True:
        try:
            await add_all(cluster, queue, namespace)
        except Unavailable as error:
            log.warning("the re-list has to wait: %s", error)
        await asyncio.sleep(seconds)


async def add_all(cluster: Cluster, queue: WorkQueue[Key], namespace: str) -> None:
    """Add the key of every custom resource that is reconciled."""
    for kind in KINDS:
        if kind.status is not None:
            for obj in await cluster.list(naming.API_VERSION, kind.kind, namespace):
                for key in naming.keys_of(obj):
                    queue.add(key)


async def add_banks(cluster: Cluster, queue: WorkQueue[Key], namespace: str) -> None:
    """Add the key of every bank: which classes of nodes there are may have changed."""
    for bank in await cluster.list(naming.API_VERSION, naming.BANK, namespace):
        queue.add(Key(naming.BANK, bank["metadata"]["namespace"], bank["metadata"]["name"]))


async def _take_turn(queue: WorkQueue[Key], key: Key, turn: Turn) -> None:
    loop = asyncio.get_running_loop()
    began, result = loop.time(), "error"
    try:
        requeue = await turn(key)
        result = "requeued" if requeue else "done"
        queue.succeeded(key)
        if requeue:
            queue.add_after(key, requeue.after.total_seconds())
    except Unavailable as error:
        result = "unavailable"
        seconds = queue.retry(key, at_least=error.retry_after or 0)
        log.warning("%s: again in %.0f s: %s", _words(key), seconds, error)
        metrics.ERRORS.labels(key.kind, "Unavailable").inc()
    except ClusterError as error:
        seconds = queue.retry(key)
        log.error("%s: again in %.0f s: %s", _words(key), seconds, error)
        metrics.ERRORS.labels(key.kind, error.reason).inc()
    except Exception as error:
        seconds = queue.retry(key)
        log.exception("%s: again in %.0f s", _words(key), seconds)
        metrics.ERRORS.labels(key.kind, type(error).__name__).inc()
    finally:
        metrics.RECONCILE_SECONDS.labels(key.kind, result).observe(loop.time() - began)


def _words(key: Key) -> str:
    return f"{key.kind} {key.namespace}/{key.name}"
