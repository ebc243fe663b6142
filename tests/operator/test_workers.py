"""What a worker makes of a turn's end, and what the re-list adds."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from sdxl_operator.cluster import ClusterError, Forbidden, Objects, Unavailable
from sdxl_operator.naming import API_VERSION, BANK, MODEL, SERVICE, Key
from sdxl_operator.reconcile import Requeue
from sdxl_operator.workers import add_all, resync, work
from sdxl_operator.workqueue import WorkQueue

KEY = Key(SERVICE, "team", "studio")


class RecordingQueue(WorkQueue[Key]):
    """A queue that remembers what a worker told it, and stops after one turn."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[Any, ...]] = []

    def add_after(self, key: Key, seconds: float) -> None:
        self.told.append(("after", seconds))

    def retry(self, key: Key, at_least: float = 0.0) -> float:
        self.told.append(("retry", at_least))
        return 1.0

    def succeeded(self, key: Key) -> None:
        self.told.append(("succeeded",))

    def done(self, key: Key) -> None:
        super().done(key)
        self.told.append(("done",))
        self.stop()


async def one_turn(turn: Callable[[Key], Awaitable[Requeue | None]]) -> list[tuple[Any, ...]]:
    queue = RecordingQueue()
    queue.add(KEY)
    await work(queue, turn)
    return queue.told


def raising(error: BaseException) -> Callable[[Key], Awaitable[Requeue | None]]:
    async def turn(key: Key) -> Requeue | None:
        raise error

    return turn


async def test_a_turn_without_more_to_do_forgets_the_failures() -> None:
    async def turn(key: Key) -> Requeue | None:
        assert key == KEY
        return None

    assert await one_turn(turn) == [("succeeded",), ("done",)]


async def test_a_turn_that_wants_another_gets_it_when_it_asked_for_it() -> None:
    async def turn(key: Key) -> Requeue | None:
        return Requeue(after=timedelta(seconds=3))

    assert await one_turn(turn) == [("succeeded",), ("after", 3.0), ("done",)]


async def test_an_api_server_that_is_away_is_one_line_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    error = Unavailable(503, "ServiceUnavailable", "etcd is electing")
    error.retry_after = 7.0
    assert await one_turn(raising(error)) == [("retry", 7.0), ("done",)]
    (record,) = caplog.records
    assert record.getMessage() == "SDXLService team/studio: again in 1 s: ServiceUnavailable: etcd is electing"
    assert record.exc_info is None


async def test_a_refusal_is_logged_in_the_servers_words_and_retried(caplog: pytest.LogCaptureFixture) -> None:
    assert await one_turn(raising(Forbidden(403, "Forbidden", "no rights"))) == [("retry", 0.0), ("done",)]
    assert "Forbidden: no rights" in caplog.text
    assert caplog.records[0].exc_info is None


async def test_a_bug_is_logged_with_its_traceback_and_retried(caplog: pytest.LogCaptureFixture) -> None:
    assert await one_turn(raising(KeyError("spec"))) == [("retry", 0.0), ("done",)]
    assert "Traceback" in caplog.text


async def test_errors_are_counted_by_reason() -> None:
    labels = {"kind": SERVICE, "reason": "Counted"}
    before = REGISTRY.get_sample_value("sdxl_operator_errors_total", labels) or 0
    await one_turn(raising(ClusterError(418, "Counted", "x")))
    assert REGISTRY.get_sample_value("sdxl_operator_errors_total", labels) == before + 1


async def test_a_cancelled_worker_ends_its_turn_and_itself() -> None:
    queue = RecordingQueue()
    queue.add(KEY)
    with pytest.raises(asyncio.CancelledError):
        await work(queue, raising(asyncio.CancelledError()))
    assert queue.told == [("done",)]


class ListedCluster:
    """A cluster that can be listed, except in its first `failures` times."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.lists: list[tuple[str, str]] = []

    async def list(self, api_version: str, kind: str, namespace: str = "", labels: Any = None) -> Objects:
        self.lists.append((kind, namespace))
        if self.failures:
            self.failures -= 1
            raise Unavailable(0, "ClientConnectorError", "away")
        return [{"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "a", "namespace": "team"}}]


async def test_the_re_list_adds_every_kind_that_is_reconciled() -> None:
    cluster: Any = ListedCluster()
    queue: WorkQueue[Key] = WorkQueue()
    await add_all(cluster, queue, "team")
    assert cluster.lists == [(SERVICE, "team"), (MODEL, "team"), (BANK, "team")]
    assert [await queue.take() for _ in range(3)] == [Key(kind, "team", "a") for kind in (SERVICE, MODEL, BANK)]


async def test_the_re_list_goes_on_after_the_api_server_was_away(caplog: pytest.LogCaptureFixture) -> None:
    cluster: Any = ListedCluster(failures=1)
    queue: WorkQueue[Key] = WorkQueue()
    with caplog.at_level(logging.WARNING):
        task = asyncio.create_task(resync(cluster, queue, "", 0.01))
        assert await asyncio.wait_for(queue.take(), 5) == Key(SERVICE, "team", "a")
    task.cancel()
    assert "the re-list has to wait" in caplog.text


async def test_a_re_list_that_is_not_allowed_ends_the_operator() -> None:
    class ForbiddenCluster(ListedCluster):
        async def list(self, *arguments: Any, **more: Any) -> Objects:
            raise Forbidden(403, "Forbidden", "no rights")

    cluster: Any = ForbiddenCluster()
    with pytest.raises(Forbidden):
        await resync(cluster, WorkQueue(), "", 0.01)
