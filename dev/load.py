"""Load on a service from a pod in its cluster: `sdxl-runtime bench`, until it is ended, and what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from dev.demo.kubectl import Kubectl
from dev.shell import Failed, tail

POD = "load"
STARTING_SECONDS = 120
LONGEST_SECONDS = 3600
"""A load that nobody ends sends for so long."""
BEFORE_SECONDS = 5
"""From the pod's start until requests flow: Python's own start, on cores that are busy."""

SCRIPT = """
sdxl-runtime bench "$@" --json /tmp/result.json > /tmp/table.txt &
bench=$!
trap 'kill -TERM $bench' TERM
while kill -0 $bench 2> /tmp/gone; do wait $bench; done
cat /tmp/result.json
"""
"""Ends with the load, whose results are the last thing in the log. TERM ends the load early."""

Object = dict[str, Any]


class Load:
    """`sdxl-runtime bench` against a URL, in a pod of a namespace; one at a time."""

    def __init__(self, kubectl: Kubectl, namespace: str, image: str) -> None:
        self.kubectl, self.namespace, self.image = kubectl, namespace, image

    def start(self, url: str, *options: str) -> None:
        """Begin, and come back once requests flow.

        Raises:
            Failed: the pod does not run in time.
        """
        words = [url, *options, *(() if "--seconds" in options else ("--seconds", str(LONGEST_SECONDS)))]
        container = {
            "name": POD,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", SCRIPT, POD, *words],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD}}
        self._run("delete", "pod", POD, "--ignore-not-found", "--grace-period=0", "--force")
        self._run(
            "apply",
            "-f",
            "-",
            text_in=json.dumps({**pod, "spec": {"restartPolicy": "Never", "containers": [container]}}),
        )
        self._wait(lambda phase: phase != "Pending", STARTING_SECONDS)
        time.sleep(BEFORE_SECONDS)

    def end(self, seconds: float = 600) -> Object:
        """Send no more, wait for what was sent, and give what `--json` writes.

        Raises:
            Failed: the load could not be made; the message is what it wrote.
        """
        self._run("exec", POD, "--", "sh", "-c", "kill -TERM 1", check=False)  # it may have ended by itself
        return self.result(seconds)

    def result(self, seconds: float) -> Object:
        """What `--json` writes, once the load has ended by itself.

        Raises:
            Failed: the load could not be made; the message is what it wrote.
        """
        phase = self._wait(lambda phase: phase in ("Succeeded", "Failed"), seconds)
        lines = self._run("logs", POD).splitlines()
        if phase != "Succeeded" or "{" not in lines:
            raise Failed(f"the load's pod in namespace {self.namespace} ended as {phase}:\n{tail(chr(10).join(lines))}")
        found: Object = json.loads("\n".join(lines[lines.index("{") :]))
        return found

    def _wait(self, good: Callable[[str], bool], seconds: float) -> str:
        end = time.monotonic() + seconds
        while not good(phase := self._phase()):
            if time.monotonic() > end:
                raise Failed(f"the load's pod in namespace {self.namespace} is {phase} after {seconds:.0f} s")
            time.sleep(0.5)
        return phase

    def _phase(self) -> str:
        status = self.kubectl.get("-n", self.namespace, "pod", POD).get("status") or {}
        return str(status.get("phase", "Pending"))

    def _run(self, *words: str, **options: Any) -> str:
        return self.kubectl.run("-n", self.namespace, *words, **options)
