"""An in-memory cluster, what runs in it, and a life that gives keys their turns, on a clock of its own."""

import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sdxl_operator.cluster import Conflict, Forbidden, Invalid, NotFound, Objects, Unavailable
from sdxl_operator.naming import API_VERSION, PROFILE, SERVICE, Key, Object, Ref, bucket_key, digest, keys_of
from sdxl_operator.reconcile import Context, SigningSecrets, reconcile
from sdxl_operator.settings import OperatorSettings
from tests.operator.builders import DIGEST, NAMESPACE, NOW, a_profile, a_service, merged

SELECTED = "app.kubernetes.io/managed-by"


def copy(value: Any) -> Any:
    """A deep copy, quickly."""
    return pickle.loads(pickle.dumps(value, -1))


def away(what: str) -> Unavailable:
    """The API server does not answer."""
    return Unavailable(0, "Unavailable", f"no answer to {what}")


@dataclass
class Clock:
    """The only time there is."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def text(self) -> str:
        """Now, as Kubernetes writes it."""
        return self.now.strftime("%Y-%m-%dT%H:%M:%SZ")


class FakeCluster:
    """`Cluster` in memory: server-side apply by one manager, versions, owner references, labels, injected failures."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.objects: dict[Ref, Object] = {}
        self.writes: list[str] = []
        """Every write that the operator sent, whether it changed anything or not."""
        self.changes: list[str] = []
        """Every write of anybody that changed an object."""
        self.recorded: list[tuple[str, str, str]] = []
        self.patches: list[tuple[str, str]] = []
        """(name, field manager) of every edit that a command made."""
        self.warnings: dict[tuple[str, str], str] = {}
        """(kind, name) → what an event says of it."""
        self.refuse: dict[str, Forbidden | Invalid] = {}
        """Kind → why the API server refuses to make it."""
        self.fail_before: int | None = None
        self.fail_after: int | None = None
        self.watchers: list[Callable[[Object], None]] = []
        self._applied: dict[Ref, Object] = {}
        self._frozen: dict[Ref, tuple[str, bytes]] = {}
        self._version = 0
        self._uids = 0

    # What the operator calls.

    async def get(self, ref: Ref) -> Object | None:
        return self._read(ref) if ref in self.objects else None

    async def list(
        self, api_version: str, kind: str, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> Objects:
        wanted = (labels or {}).items()
        return [
            self._read(ref)
            for ref, obj in sorted(self.objects.items())
            if (ref.api_version, ref.kind) == (api_version, kind)
            and namespace in ("", ref.namespace)
            and wanted <= (obj["metadata"].get("labels") or {}).items()
        ]

    async def apply(self, obj: Object) -> Object:
        ref, obj = Ref.of(obj), copy(obj)
        live = self.objects.get(ref)
        if live is not None and ref.kind in ("SDXLModel", "SDXLTuneBank") and live["spec"] != obj["spec"]:
            raise Invalid(422, "Invalid", f"{ref.kind} {ref.name}: spec never changes")
        if live is not None and ref.kind == "Job" and live["spec"] != merged(live["spec"], obj["spec"]):
            raise Invalid(422, "Invalid", f"Job {ref.name}: the template is immutable")
        base = _without(copy(live), self._applied.get(ref, {}), obj) if live is not None else {}
        wanted = merged(base, obj)
        if wanted != live:  # else nothing is sent, or the server sees that nothing differs
            with self._written(f"apply {ref.kind} {ref.name}"):
                if ref.kind in self.refuse:
                    raise self.refuse[ref.kind]
                self._store(ref, wanted)
                self._applied[ref] = obj
        return self._read(ref)

    async def create(self, obj: Object) -> bool:
        ref = Ref.of(obj)
        with self._written(f"create {ref.kind} {ref.name}"):
            if ref.kind in self.refuse:
                raise self.refuse[ref.kind]
            if ref in self.objects:
                return False
            self._store(ref, copy(obj))
        return True

    async def apply_defaults(self, obj: Object) -> Object:
        raise NotImplementedError

    async def delete(self, ref: Ref, uid: str | None = None) -> None:
        live = self.objects.get(ref)
        with self._written(f"delete {ref.kind} {ref.name}"):
            if live is not None and uid in (None, live["metadata"]["uid"]):
                self.remove(ref)

    async def apply_status(self, ref: Ref, status: Object) -> None:
        live = self.objects.get(ref)
        if live is None or live.get("status") == status:
            return
        with self._written(f"status {ref.kind} {ref.name}"):
            self._store(ref, {**live, "status": copy(status)})

    async def patch(self, ref: Ref, change: Object, manager: str) -> Object:
        live = self.objects.get(ref)
        if live is None:
            raise NotFound(404, "NotFound", f"{ref.kind} {ref.name}")
        version = (change.get("metadata") or {}).get("resourceVersion", live["metadata"]["resourceVersion"])
        if version != live["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", f"{ref.kind} {ref.name} was changed by somebody else")
        self.patches.append((ref.name, manager))
        return self.put(merged(live, change))

    async def record(self, regarding: Object, reason: str, message: str, warning: bool, action: str) -> None:
        self.recorded.append((regarding["metadata"]["name"], reason, message))

    async def events(self, ref: Ref) -> Objects:
        text = self.warnings.get((ref.kind, ref.name))
        return [{"type": "Warning", "message": text}] if text else []

    # What users, controllers and the kubelet do.

    def put(self, obj: Object) -> Object:
        """Create or change an object as somebody else."""
        self._store(Ref.of(obj), copy(obj))
        return copy(self.objects[Ref.of(obj)])

    def edit(self, ref: Ref, **change: Any) -> Object:
        """Change members of an object as somebody else; mappings are merged."""
        return self.put(merged(self.objects[ref], change))

    def remove(self, ref: Ref) -> None:
        """Delete an object and all that it owns."""
        gone = self.objects.pop(ref)
        self._applied.pop(ref, None)
        self.changes.append(f"delete {ref.kind} {ref.name}")
        self._tell(gone)
        for other, obj in list(self.objects.items()):
            owners = obj["metadata"].get("ownerReferences") or []
            if owners and all(item["uid"] == gone["metadata"]["uid"] for item in owners) and other in self.objects:
                self.remove(other)

    def named(self, kind: str, name: str | None = None) -> Object:
        """The object of a kind, by its name where there are several."""
        found = self.all(kind) if name is None else [obj for obj in self.all(kind) if obj["metadata"]["name"] == name]
        assert len(found) == 1, f"{len(found)} of {kind} {name or ''}: {[obj['metadata']['name'] for obj in found]}"
        return found[0]

    def all(self, kind: str) -> Objects:
        """The objects of a kind."""
        return [copy(obj) for ref, obj in sorted(self.objects.items()) if ref.kind == kind]

    def _store(self, ref: Ref, obj: Object) -> None:
        live = self.objects.get(ref)
        metadata = obj["metadata"]
        if live is None:
            self._uids += 1
            metadata = {"uid": f"{ref.kind}-{self._uids}", "creationTimestamp": self.clock.text(), **metadata}
            metadata["generation"] = 1
        else:
            moved = obj.get("spec") != live.get("spec")
            kept = {name: live["metadata"][name] for name in ("uid", "creationTimestamp")}
            metadata = {**metadata, **kept, "generation": live["metadata"]["generation"] + moved}
            if {**obj, "metadata": {**metadata, "resourceVersion": ""}} == {
                **live,
                "metadata": {**live["metadata"], "resourceVersion": ""},
            }:
                return
        self._version += 1
        if metadata.get("ownerReferences"):
            uids = {other["metadata"]["uid"] for other in self.objects.values()}
            assert all(item["uid"] in uids for item in metadata["ownerReferences"]), f"{ref} has no owner"
        self.objects[ref] = {**obj, "metadata": {**metadata, "resourceVersion": str(self._version)}}
        self.changes.append(f"{'change' if live else 'create'} {ref.kind} {ref.name}")
        self._tell(self.objects[ref])

    def _read(self, ref: Ref) -> Object:
        """A copy of an object, which the caller may change."""
        version = self.objects[ref]["metadata"]["resourceVersion"]
        if self._frozen.get(ref, ("", b""))[0] != version:
            self._frozen[ref] = (version, pickle.dumps(self.objects[ref], -1))
        return dict(pickle.loads(self._frozen[ref][1]))

    def _tell(self, obj: Object) -> None:
        for watcher in self.watchers:
            watcher(obj)

    def _written(self, what: str) -> "_Write":
        return _Write(self, what)


@dataclass
class _Write:
    cluster: FakeCluster
    what: str

    def __enter__(self) -> None:
        self.cluster.writes.append(self.what)
        self.number = len(self.cluster.writes)
        if self.number == self.cluster.fail_before:
            raise away(self.what)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self.number == self.cluster.fail_after:
            raise away(f"{self.what}, which was done")


def _without(live: Object, applied: Mapping[str, Any], wanted: Mapping[str, Any]) -> Object:
    """`live` without the members that were applied before and are no longer wanted."""
    for name, value in applied.items():
        if name not in wanted:
            live.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(live.get(name), Mapping) and isinstance(wanted[name], Mapping):
            live[name] = _without(dict(live[name]), value, wanted[name])
    return live


@dataclass
class FakeRuntime:
    """What pods answer: as the world has brought them."""

    silent: set[str] = field(default_factory=set)
    """Pods that do not answer."""
    stage: Object | None = None
    """What compile and fetch say of their progress."""

    async def readiness(self, pod: Mapping[str, Any]) -> Object | None:
        if pod["metadata"]["name"] in self.silent:
            return None
        buckets = json.loads(variables(pod)["SDXL_BUCKETS"])
        ready = any(item["type"] == "Ready" and item["status"] == "True" for item in pod["status"]["conditions"])
        compiled = "SDXL_BANK_PATH" in variables(pod)
        row = {
            "state": "Ready" if ready else "Pending",
            "backend": "AheadOfTime" if compiled else "Eager",
            "why": "",
            "millisecondsPerStep": 12.3 if ready else None,
        }
        rows = [{"key": bucket_key(item), **row} for item in buckets]
        state = "Ready" if ready else "Loading"
        return {"state": state, "message": "", "buckets": rows, "seconds": {"load": 1.2, "warm": 3.4}}

    async def progress(self, pod: Mapping[str, Any]) -> Object | None:
        return self.stage


def variables(pod: Mapping[str, Any]) -> dict[str, str]:
    """The environment of a pod's container."""
    return {item["name"]: item.get("value", "") for item in pod["spec"]["containers"][0]["env"]}


class World:
    """The controllers and the kubelet: each `step` brings everything one state further."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.outcome: dict[str, Callable[[Object], Object | None]] = {}
        """Component → how the pod of such a Job ends: the terminated state; None while it goes on running."""
        self.identity = "1" * 16
        self.cards: int | None = None
        """How many pods that ask for an extended resource have room; None: all."""
        self.held: set[str] = set()
        """Images of replicas that run and never become ready."""
        self.ends: dict[str, Object] = {}
        """Image of replicas whose container ends before it is ready → the terminated state."""
        self.compiled: list[list[str]] = []
        """The buckets of each compile Job that ran to its end."""
        self.imported: list[list[str]] = []
        """The buckets that each import Job which ran to its end told of."""
        self.artifact: set[str] = {"128x128b1"}
        """The buckets of every artefact."""
        self.stale = ""
        """What an import Job says of an artefact for something else."""
        self._serial = 0

    def step(self) -> None:
        for pod in [obj for obj in self.cluster.all("Pod") if not obj["spec"].get("nodeName")]:
            self._place(pod)
        for kind in ("PersistentVolumeClaim", "Job", "Deployment"):
            for ref in [ref for ref in self.cluster.objects if ref.kind == kind]:
                if ref in self.cluster.objects:
                    getattr(self, f"_{kind.lower()}")(self.cluster.objects[ref])

    def _persistentvolumeclaim(self, claim: Object) -> None:
        self.cluster.put({**claim, "status": {"phase": "Bound"}})

    def _job(self, job: Object) -> None:
        status = job.get("status") or {}
        if status.get("conditions"):
            return
        pods = self._pods_of(job)
        if not pods:
            self._pod(job, job["spec"]["template"], {"job-name": job["metadata"]["name"]})
            self.cluster.put({**job, "status": {"startTime": self.cluster.clock.text(), "active": 1}})
            return
        pod = pods[-1]
        if not pod["spec"].get("nodeName"):
            return
        if pod["status"]["phase"] == "Pending":
            self._set(pod, "Running", {"running": {"startedAt": self.cluster.clock.text()}})
            return
        name = pod["spec"]["containers"][0]["name"]
        ended = self.outcome.get(name, self._success)(pod)
        if ended is None:
            return
        failed = ended["exitCode"] != 0
        if name in ("compile", "import") and not failed:
            told = self.compiled if name == "compile" else self.imported
            told.append(sorted(item["bucket"] for item in json.loads(ended["message"])["entries"]))
        self._set(pod, "Failed" if failed else "Succeeded", {"terminated": ended})
        now = self.cluster.clock.text()
        condition = {"type": "Failed" if failed else "Complete", "status": "True", "lastTransitionTime": now}
        if failed:
            condition |= {"reason": "PodFailurePolicy", "message": "Container failed with exit code 1"}
        self.cluster.put({**job, "status": {**status, "completionTime": now, "conditions": [condition]}})

    def _success(self, pod: Object) -> Object:
        environment = variables(pod)
        if pod["spec"]["containers"][0]["args"] == ["fetch"]:
            result: Object = {"digest": DIGEST, "bytes": 123, "files": 14, "sizeMultiple": 32, "seconds": 2}
            if environment["SDXL_MODEL_CONTENT"] == "Adapter":
                result |= {"files": 1, "sizeMultiple": 1, "rank": 8}
        else:
            buckets = json.loads(environment["SDXL_BUCKETS"])
            keys = [bucket_key(item) for item in buckets]
            numbers = {"eagerMilliseconds": 20, "compiledMilliseconds": 15, "speedupPercent": 133, "seconds": 40}
            entries = [
                {"bucket": key, "state": "Kept", "digest": "sha256:" + digest([self.identity, key], 64), **numbers}
                for key in keys
            ]
            result = {"identity": self.identity, "entries": entries, "seconds": 3}
            if "SDXL_BANK_FROM" in environment:
                result["entries"] = [self._held(entry) for entry in entries]
                result |= {"stale": self.stale} if self.stale else {}
        return {"exitCode": 0, "message": json.dumps(result), "finishedAt": self.cluster.clock.text()}

    def _held(self, entry: Object) -> Object:
        if entry["bucket"] in self.artifact:
            return entry
        return {"bucket": entry["bucket"], "state": "Missing", "why": "the artefact holds others"}

    def _deployment(self, deployment: Object) -> None:
        spec, template = deployment["spec"], digest(deployment["spec"]["template"])
        pods = self._pods_of(deployment)
        old = [pod for pod in pods if pod["metadata"]["labels"]["pod-template-hash"] != template]
        new = [pod for pod in pods if pod not in old]
        for pod in pods:
            self._grow(pod)
        limit = spec["replicas"] + int(spec["strategy"]["rollingUpdate"]["maxSurge"])
        surplus = len(new) - spec["replicas"]
        if surplus > 0:
            self.cluster.remove(Ref.of(new[-1]))
        elif len(pods) < limit and len(new) < spec["replicas"]:
            self._pod(deployment, deployment["spec"]["template"], {"pod-template-hash": template})
        elif old and (len(pods) > spec["replicas"] or all(map(_is_ready, new)) or not any(map(_is_ready, old))):
            self.cluster.remove(Ref.of(old[0]))
        pods = self._pods_of(self.cluster.objects[Ref.of(deployment)])
        fresh = [pod for pod in pods if pod["metadata"]["labels"]["pod-template-hash"] == template]
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": len(fresh),
            "readyReplicas": sum(_is_ready(pod) for pod in pods),
        }
        self.cluster.put({**self.cluster.objects[Ref.of(deployment)], "status": status})

    def _grow(self, pod: Object) -> None:
        """Pending → running → ready; a pod whose Secrets are not there waits, and an event says so."""
        if not pod["spec"].get("nodeName"):
            return
        if pod["status"]["phase"] == "Pending" and self._misses_digests(pod):
            return
        if pod["status"]["phase"] == "Pending" and (missing := self._missing_secret(pod)):
            text = f'MountVolume.SetUp failed for volume "{missing["name"]}" : secret "{missing["secret"]}" not found'
            self.cluster.warnings["Pod", pod["metadata"]["name"]] = text
        elif pod["spec"].get("initContainers") and not self._initialised(pod):
            return
        elif pod["status"]["phase"] == "Pending":
            self._set(pod, "Running", {"running": {"startedAt": self.cluster.clock.text()}})
        elif (end := self.ends.get(pod["spec"]["containers"][0]["image"])) is not None:
            self._set(pod, "Running", {"waiting": {"reason": "CrashLoopBackOff"}}, last={"terminated": end})
        elif not _is_ready(pod) and pod["spec"]["containers"][0]["image"] not in self.held:
            self._set(pod, "Running", {"running": {"startedAt": self.cluster.clock.text()}}, ready=True)

    def _initialised(self, pod: Object) -> bool:
        """The init container: running → ended, and started again where it failed."""
        container = pod["spec"]["initContainers"][0]
        state = next((item["state"] for item in pod["status"].get("initContainerStatuses", [])), {})
        if state.get("terminated", {}).get("exitCode") == 0:
            return True
        last: Object = {}
        if "running" not in state:
            last, state = state, {"running": {"startedAt": self.cluster.clock.text()}}
        elif (ended := self.outcome.get("compile", self._success_of(container))(pod)) is not None:
            if ended["exitCode"] == 0:
                self.compiled.append(sorted(item["bucket"] for item in json.loads(ended["message"])["entries"]))
            state = {"terminated": ended}
        status = {"name": container["name"], "image": container["image"], "state": state, "lastState": last}
        self.cluster.put({**pod, "status": {**pod["status"], "initContainerStatuses": [status]}})
        return False

    def _success_of(self, container: Object) -> Callable[[Object], Object]:
        return lambda pod: self._success({"spec": {"containers": [container]}})

    def _misses_digests(self, pod: Object) -> bool:
        """Whether a ConfigMap that the pod mounts and cannot do without does not exist."""
        wanted = [volume["configMap"] for volume in pod["spec"]["volumes"] if "configMap" in volume]
        names = {item["name"] for item in wanted if not item.get("optional")}
        return any(Ref("v1", "ConfigMap", NAMESPACE, name) not in self.cluster.objects for name in names)

    def _missing_secret(self, pod: Object) -> dict[str, str] | None:
        """The first volume of a Secret that does not exist."""
        for volume in pod["spec"]["volumes"]:
            secret = volume.get("secret", {}).get("secretName")
            if secret and Ref("v1", "Secret", NAMESPACE, secret) not in self.cluster.objects:
                return {"name": volume["name"], "secret": secret}
        return None

    def _pods_of(self, owner: Object) -> Objects:
        uid = owner["metadata"]["uid"]
        pods = (obj for ref, obj in sorted(self.cluster.objects.items()) if ref.kind == "Pod")
        return [pod for pod in pods if pod["metadata"]["ownerReferences"][0]["uid"] == uid]

    def _pod(self, workload: Object, template: Object, labels: Mapping[str, str]) -> None:
        self._serial += 1
        metadata = workload["metadata"]
        reference = {"kind": workload["kind"], "name": metadata["name"], "uid": metadata["uid"], "controller": True}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{metadata['name']}-{self._serial:04}",
                "namespace": NAMESPACE,
                "labels": {**template["metadata"]["labels"], **labels},
                "ownerReferences": [reference],
            },
            "spec": template["spec"],
        }
        self._set(pod, "Pending", None)
        self._place(self.cluster.objects[Ref.of(pod)])

    def _place(self, pod: Object) -> None:
        """The scheduler: a pod has a node, or waits for a card."""
        taken = sum(1 for other in self.cluster.all("Pod") if other["spec"].get("nodeName") and _takes(other))
        scheduled: Object = {"type": "PodScheduled", "lastTransitionTime": self.cluster.clock.text()}
        if self.cards is not None and (resource := _takes(pod)) and taken >= self.cards:
            text = f"0/1 nodes are available: 1 Insufficient {resource}."
            scheduled |= {"status": "False", "reason": "Unschedulable", "message": text}
            before = pod["status"]["conditions"][0]
            if before["status"] != "False":
                self.cluster.put({**pod, "status": {**pod["status"], "conditions": [scheduled]}})
            return
        status = {**pod["status"], "conditions": [{**scheduled, "status": "True"}]}
        self.cluster.put({**pod, "spec": {**pod["spec"], "nodeName": "node"}, "status": status})

    def _set(
        self, pod: Object, phase: str, state: Object | None, ready: bool = False, last: Object | None = None
    ) -> None:
        container = pod["spec"]["containers"][0]
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": self.cluster.clock.text()}
        before = [item for item in (pod.get("status") or {}).get("conditions", []) if item["type"] == "PodScheduled"]
        kept = {"initContainerStatuses"} & (pod.get("status") or {}).keys()
        status: Object = {
            **{name: pod["status"][name] for name in kept},
            "phase": phase,
            "podIP": "10.0.0.1",
            "conditions": [*(before or [scheduled]), {"type": "Ready", "status": str(ready)}],
            "containerStatuses": [],
        }
        if state is not None:
            status["containerStatuses"] = [
                {"name": container["name"], "image": container["image"], "state": state, "lastState": last or {}}
            ]
        self.cluster.put({**pod, "status": status})


def _takes(pod: Mapping[str, Any]) -> str:
    """The extended resource that a pod holds or waits for, empty if there is none."""
    if pod["status"]["phase"] in ("Succeeded", "Failed"):
        return ""
    limits = pod["spec"]["containers"][0].get("resources", {}).get("limits") or {}
    return next((name for name in limits if "/" in name), "")


def _is_ready(pod: Mapping[str, Any]) -> bool:
    return any(item["type"] == "Ready" and item["status"] == "True" for item in pod["status"]["conditions"])


class Life:
    """The operator over a fake cluster: events become turns, and time passes only here."""

    def __init__(self, settings: OperatorSettings | None = None) -> None:
        self.clock = Clock()
        self.cluster = FakeCluster(self.clock)
        self.world = World(self.cluster)
        self.runtime = FakeRuntime()
        self.settings = settings or OperatorSettings()
        self.queue: dict[Key, None] = {}
        self.timers: dict[Key, datetime] = {}
        self.faults = 0
        self.drawn = 0
        self.restart()
        self.cluster.watchers.append(self._changed)

    def restart(self) -> None:
        """Another process of the operator, which remembers nothing."""
        self.context = Context(
            self.cluster, self.settings, self.clock, self.runtime, self.enqueue, SigningSecrets(self._draw)
        )

    def _draw(self) -> str:
        """A key that no other is, and that is the same in each run."""
        self.drawn += 1
        return f"{self.drawn:064x}"

    def enqueue(self, key: Key) -> None:
        self.queue[key] = None

    def _changed(self, obj: Object) -> None:
        metadata = obj["metadata"]
        if obj["kind"] == PROFILE:
            keys = [Key(SERVICE, NAMESPACE, item["metadata"]["name"]) for item in self.cluster.all(SERVICE)]
        elif obj["apiVersion"] == API_VERSION or SELECTED in (metadata.get("labels") or {}):
            keys = list(keys_of(obj))
        else:
            keys = []
        for key in keys:
            self.enqueue(key)

    async def turn(self, key: Key) -> None:
        """One turn for one key, as the workers do it."""
        self.queue.pop(key, None)
        self.timers.pop(key, None)
        try:
            requeue = await reconcile(key, self.context)
        except Unavailable:
            self.faults += 1
            self.timers[key] = self.clock.now + timedelta(seconds=1)
            return
        if requeue is not None:
            self.timers[key] = self.clock.now + requeue.after

    async def drain(self) -> None:
        """Give every waiting key its turn."""
        turns = 0
        while self.queue:
            await self.turn(next(iter(self.queue)))
            turns += 1
            assert turns < 500, f"keys wake each other for ever: {list(self.queue)}, {self.cluster.changes[-6:]}"

    async def tick(self) -> None:
        """Turns, then the world moves, then a second passes."""
        await self.drain()
        self.world.step()
        self.clock.now += timedelta(seconds=1)
        self._ring()

    def _ring(self) -> None:
        for key in [key for key, when in self.timers.items() if when <= self.clock.now]:
            self.enqueue(key)

    async def settle(self, limit: int = 400) -> None:
        """Let time pass until nothing has changed for some seconds."""
        quiet = 0
        for _ in range(limit):
            before = len(self.cluster.changes)
            await self.tick()
            quiet = quiet + 1 if len(self.cluster.changes) == before else 0
            if quiet >= 4:  # whoever polls has looked again by then
                return
        raise AssertionError(f"never quiet: {self.cluster.changes[-12:]}")

    async def until(self, holds: Callable[[], bool], what: str, limit: int = 200) -> None:
        """Let time pass until something holds."""
        for _ in range(limit):
            if holds():
                return
            await self.tick()
        raise AssertionError(f"never: {what}; {list(self.conditions())}")

    async def wait(self, seconds: int) -> None:
        """Let so much time pass; while nothing moves, the clock goes straight to the next timer."""
        end = self.clock.now + timedelta(seconds=seconds)
        while self.clock.now < end:
            before = len(self.cluster.changes)
            await self.tick()
            if len(self.cluster.changes) == before and not self.queue:
                self.clock.now = min([end, *(when for when in self.timers.values() if when > self.clock.now)])
                self._ring()

    # What a user does and sees.

    def create(self, change: Mapping[str, Any] | None = None, name: str = "studio") -> Object:
        """Apply a service."""
        service = a_service(change, name)
        for member in ("uid", "generation", "resourceVersion", "creationTimestamp"):
            del service["metadata"][member]
        return self.cluster.put(service)

    def profile(self, name: str = "cpu", change: Mapping[str, Any] | None = None) -> Object:
        """Apply a profile."""
        return self.cluster.put(a_profile(name, change))

    def change(self, name: str = "studio", **spec: Any) -> Object:
        """Edit a service's spec."""
        return self.cluster.edit(Ref(API_VERSION, SERVICE, NAMESPACE, name), spec=spec)

    def touch(self, name: str = "studio") -> None:
        """Give a service a turn, as the pass that lists everything does."""
        self.enqueue(Key(SERVICE, NAMESPACE, name))

    def service(self, name: str = "studio") -> Object:
        return self.cluster.named(SERVICE, name)

    def condition(self, kind: str = "Ready", name: str = "studio", of: str = SERVICE) -> Object:
        """A condition of an object; empty if it has none."""
        obj = self.cluster.named(of, name) if of == SERVICE else self.cluster.named(of)
        found = [item for item in (obj.get("status") or {}).get("conditions", []) if item["type"] == kind]
        return found[0] if found else {}

    def reason(self, kind: str = "Ready", name: str = "studio", of: str = SERVICE) -> str:
        return str(self.condition(kind, name, of).get("reason"))

    def is_ready(self, name: str = "studio") -> bool:
        return self.condition("Ready", name).get("status") == "True"

    def conditions(self) -> Iterator[str]:
        """Every object's Ready condition in a line."""
        for ref, obj in sorted(self.cluster.objects.items()):
            for item in (obj.get("status") or {}).get("conditions", []) if ref.api_version == API_VERSION else []:
                yield f"{ref.kind} {ref.name} {item['type']} {item['status']} {item['reason']}: {item['message'][:200]}"


async def served(
    change: Mapping[str, Any] | None = None, profile: Mapping[str, Any] | None = None, cards: int | None = None
) -> Life:
    """A life whose service `studio` is ready on the profile `cpu`, with so many cards if the profile asks for one."""
    life = Life()
    life.world.cards = cards
    life.profile(change=profile)
    life.create(change)
    await life.settle()
    assert life.is_ready(), "\n".join(life.conditions())
    return life
