"""A bank while its Job is at work: what the Job says, what replicas read of it meanwhile, and what it came to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from dev.cluster.local.cluster import LocalCluster
from tests.e2e.world import Namespace, Object

INTERNAL_PORT = 8001
LOOK_SECONDS = 0.25


def replicas(namespace: Namespace, service: str = "studio") -> list[Object]:
    """The pods that serve and are not on their way out."""
    pods = namespace.items("pods", "-l", f"sdxl.dev/service={service},app.kubernetes.io/component=server")
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def bank_of(namespace: Namespace, service: str = "studio") -> Object:
    """The SDXLTuneBank that a service uses, empty before it names one."""
    name = (namespace.service(service).get("status") or {}).get("bank")
    return namespace.get("sdxltunebank", name) if name else {}


def digests(bank: Object) -> dict[str, str]:
    """The digest of each entry that status lists, by bucket."""
    entries = (bank.get("status") or {}).get("entries") or []
    return {entry["key"]: entry["digest"] for entry in entries if entry.get("digest")}


def compile_pods(namespace: Namespace, bank: str = "") -> list[Object]:
    """The compile Jobs' pods that run, of one bank or of all."""
    labels = "app.kubernetes.io/component=compile" + (f",sdxl.dev/bank={bank}" if bank else "")
    pods = namespace.items("pods", "-l", labels)
    return [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]


def says(pod: Object, path: str) -> Object:
    """What a pod answers on its internal port, by its address; empty where it does not answer."""
    try:
        with httpx.Client(trust_env=False, timeout=2) as client:
            found: Object = client.get(f"http://{pod['status']['podIP']}:{INTERNAL_PORT}{path}").json()
    except (httpx.HTTPError, KeyError, ValueError):
        return {}
    return found


def kill_job(namespace: Namespace, cluster: LocalCluster, bucket: str, stages: set[str], seconds: float) -> None:
    """Kill the compile Job's process once it is at one of these stages with a bucket."""

    def at_work() -> tuple[Object, str]:
        for pod in compile_pods(namespace):
            said = says(pod, "/progress")
            if said.get("bucket") == bucket:
                return pod, str(said["stage"])
        return {}, ""

    pod, _ = namespace.wait(at_work, lambda found: found[1] in stages, seconds)
    assert cluster.kill_in_pod(pod["metadata"]["uid"], "compile") >= 1
    namespace.wait(
        lambda: namespace.get("pod", pod["metadata"]["name"]).get("status", {}).get("phase", "Failed"),
        lambda phase: phase == "Failed",
        30,
    )


@dataclass
class Readers:
    """What replicas said of the bank's entries: pairs of a bucket and a digest, and troubles in words."""

    loaded: set[tuple[str, str]] = field(default_factory=set)
    troubles: set[str] = field(default_factory=set)
    answers: int = 0

    def look(self, namespace: Namespace) -> None:
        """Ask every replica once."""
        for pod in replicas(namespace):
            for row in says(pod, "/readyz").get("buckets", []):
                self.answers += 1
                if row.get("entry") == "Loaded":
                    self.loaded.add((row["key"], row["digest"]))
                elif row.get("entry") in ("Corrupt", "Stale"):
                    self.troubles.add(f"{row['key']}: {row['entry']}: {row['why']}")


@contextmanager
def watched_readers(namespace: Namespace) -> Iterator[Readers]:
    """Ask the replicas again and again while the block runs."""
    found, stop, failed = Readers(), threading.Event(), list[BaseException]()

    def ask() -> None:
        try:
            while not stop.wait(LOOK_SECONDS):
                found.look(namespace)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
    assert not failed, failed


def verified(namespace: Namespace, service: str = "studio") -> dict[str, Any]:
    """What `sdxl-runtime bank verify` says of each bucket's entry, its files read; it fails where one is damaged."""
    words = ("exec", f"deployment/{service}", "-c", "server", "--", "sdxl-runtime", "bank", "verify", "--json")
    rows = json.loads(namespace.run(*words))
    assert all(row["verified"] and row["state"] != "Damaged" for row in rows), rows
    return {row["bucket"]: row for row in rows}


def hidden(namespace: Namespace, service: str = "studio") -> list[str]:
    """The names on the bank's volume that no reader reads: staging and locks."""
    code = "import json, pathlib; print(json.dumps([p.name for p in pathlib.Path('/bank').rglob('.*')]))"
    said = namespace.run("exec", f"deployment/{service}", "-c", "server", "--", "python3", "-c", code)
    names: list[str] = json.loads(said)
    return names
