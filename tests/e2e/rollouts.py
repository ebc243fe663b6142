"""A service under load while something changes: what clients met, what became of its pods, and what status said."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from datetime import datetime
from tempfile import TemporaryFile

from dev.load import Load
from tests.e2e.world import Namespace, Object, condition

REJECTED = (429, 503)
AFTER_SECONDS = 3
"""The load goes on for so long once the change is through."""
LOAD = ("--concurrency", "3", "--size", "128x128", "--steps", "20", "--timeout", "60")
"""A request takes the simulated device 0.4 s, so that one is under way whenever a replica has to go."""


class Watch:
    """Every state of some objects from now on, as `kubectl get --watch` tells them.

    The API server ends watches of a kind whose definition changes; then the objects are told once more.
    """

    def __init__(self, namespace: Namespace, *what: str) -> None:
        kubectl = namespace.kubectl
        how = ["--watch", "--output-watch-events", "-o", "json"]
        words = [kubectl.program, "-n", namespace.name, "get", *what, *how]
        self._file = TemporaryFile()  # noqa: SIM115 - it lives as long as the process that writes it
        self._process = subprocess.Popen(
            ["sh", "-c", 'while kill -0 "$PPID"; do "$@"; sleep 0.2; done', "watch", *words],
            stdout=self._file,
            stderr=subprocess.DEVNULL,
            env=kubectl.environment,
            start_new_session=True,
        )

    def end(self) -> list[Object]:
        """The events: `type` is ADDED, MODIFIED or DELETED, `object` is as it was then."""
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(10)
        self._file.seek(0)
        events = list(documents(self._file.read().decode()))
        self._file.close()
        assert events, "the watch told nothing"
        return events


def documents(text: str) -> Iterator[Object]:
    """JSON objects one after the other; the last may be cut off."""
    decoder, at = json.JSONDecoder(), 0
    while (at := text.find("{", at)) >= 0:
        try:
            found, at = decoder.raw_decode(text, at)
        except ValueError:
            return
        yield found


class Story:
    """What happened while a service was under load; known once the load has ended."""

    before: Set[str] = frozenset()
    """The uids of the service's pods before anything changed."""
    requests: Sequence[Object] = ()
    """The load's records, as `sdxl-runtime bench --json` has them."""
    pods: Sequence[Object] = ()
    services: Sequence[Object] = ()

    @property
    def failed(self) -> list[Object]:
        """Requests that got neither a picture nor a rejection."""
        return [item for item in self.requests if not item["images"] and item["status"] not in REJECTED]

    @property
    def rejected(self) -> list[Object]:
        """Requests that a replica would not take."""
        return [item for item in self.requests if item["status"] in REJECTED]

    @property
    def impacts(self) -> set[str]:
        """The classes that `status.rollout` named."""
        told = [(event["object"].get("status") or {}).get("rollout") for event in self.services]
        return {rollout["impact"] for rollout in told if rollout}

    @property
    def unavailable(self) -> list[Object]:
        """What `Available` said whenever it was not true."""
        seen = [condition(event["object"], "Available") for event in self.services]
        return [item for item in seen if item and item["status"] != "True"]

    def fewest_serving(self, replicas: int = 2) -> int:
        """How many pods were ready and not on their way out at the worst moment, from when all replicas were."""
        serving: dict[str, bool] = {}
        counts = []
        for event in self.pods:
            pod = event["object"]
            serving[pod["metadata"]["uid"]] = event["type"] != "DELETED" and is_serving(pod)
            counts.append(sum(serving.values()))
        return min(counts[counts.index(replicas) :])

    def gone(self) -> set[str]:
        """The uids of pods that were told to go."""
        ended = (event for event in self.pods if event["object"]["metadata"].get("deletionTimestamp"))
        return {event["object"]["metadata"]["uid"] for event in ended}

    def came(self) -> dict[str, datetime]:
        """The uids of pods that were not there at first, and when each was made."""
        known = (event["object"]["metadata"] for event in self.pods)
        return {pod["uid"]: moment(pod["creationTimestamp"]) for pod in known if pod["uid"] not in self.before}


def is_serving(pod: Object) -> bool:
    """Whether a pod is ready and stays."""
    ready = next((item for item in pod["status"].get("conditions") or [] if item["type"] == "Ready"), {})
    return ready.get("status") == "True" and "deletionTimestamp" not in pod["metadata"]


def moment(text: str) -> datetime:
    """A time as Kubernetes writes it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def replicas_of(namespace: Namespace, name: str) -> list[Object]:
    """The pods of a service that are not on their way out."""
    pods = namespace.items("pods", "-l", selector(name))
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def selector(name: str) -> str:
    """Of a service's replicas."""
    return f"sdxl.dev/service={name},app.kubernetes.io/component=server"


@contextmanager
def under_load(namespace: Namespace, image: str, name: str, *options: str) -> Iterator[Story]:
    """Clients that never pause ask a service for pictures, from a pod in the cluster, while the block runs.

    `image` is the runtime's, for the load. The story is told when the block is over, also where it failed, so that a
    failure shows what clients met.
    """
    story, load = Story(), Load(namespace.kubectl, namespace.name, image)
    story.before = {pod["metadata"]["uid"] for pod in replicas_of(namespace, name)}
    load.start(f"http://{name}.{namespace.name}.svc", *(options or LOAD))
    watches = Watch(namespace, "pods", "-l", selector(name)), Watch(namespace, "sdxlservice", name)
    began = time.time()
    try:
        yield story
        time.sleep(AFTER_SECONDS)
    finally:
        story.pods, story.services = (watch.end() for watch in watches)
        told = load.end()
        story.requests = told["requests"]
        print(f"{len(story.requests)} requests, {len(story.failed)} failed, {len(story.rejected)} rejected")
        assert story.requests, "the load sent nothing"
    assert moment(told["started"]).timestamp() + story.requests[0]["due"] <= began, "it began before the load"


def assert_nobody_noticed(story: Story) -> None:
    """Every request got its picture, and there was always a replica to ask."""
    assert story.failed == []
    assert story.rejected == []
    assert story.unavailable == []
    assert story.fewest_serving() >= 1
