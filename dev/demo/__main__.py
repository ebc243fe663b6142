"""`python -m dev.demo [up | down]`: each phase with its seconds; run again, it goes on from where it stopped."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from dev import images
from dev.cluster.provider import Provider, choose
from dev.demo.kubectl import Kubectl, install_chart, uninstall_chart
from dev.demo.pictures import REQUESTS, draw_all
from dev.demo.sheet import contact_sheet
from dev.demo.watching import follow_until_ready
from dev.shell import Failed, say

ROOT = Path(__file__).resolve().parent.parent.parent
MANIFEST = ROOT / "examples" / "demo.yaml"
SHEET = ROOT / "build" / "demo" / "contact-sheet.png"
NAMESPACE = "sdxl-demo"
SERVICE = "demo"
READY_SECONDS = 1800

T = TypeVar("T")


class Phases:
    """The phases of the demo and what each cost."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def run(self, title: str, action: Callable[[], T]) -> T:
        """Run one phase, and say what it cost."""
        say(f"\n[{len(self.seconds) + 1}] {title}")
        began = time.monotonic()
        result = action()
        self.seconds[title] = time.monotonic() - began
        say(f"[{len(self.seconds)}] {title}: {self.seconds[title]:.1f} s")
        return result


def main(words: Sequence[str] | None = None) -> int:
    """Run the demo or take it down. 0: done; 1: something failed, and a sentence says what."""
    parser = argparse.ArgumentParser(prog="python -m dev.demo", description=__doc__)
    parser.add_argument("command", nargs="?", choices=["up", "down"], default="up")
    try:
        cluster = choose()
        return up(cluster) if parser.parse_args(words).command == "up" else down(cluster)
    except Failed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; `make demo` goes on from here", file=sys.stderr)
        return 130


def up(cluster: Provider) -> int:
    """From nothing to pictures."""
    phases = Phases()
    # Neither needs the other until the images travel: on a fresh machine both take minutes.
    with ThreadPoolExecutor(1) as builder:
        building = builder.submit(images.build)
        phases.run("cluster (images are built meanwhile)", cluster.up)
        phases.run("images", building.result)
    built = phases.run("images to the nodes", images.build_and_load)
    kubectl = Kubectl(cluster.kubeconfig)
    phases.run("helm install", lambda: install_chart(kubectl, built))
    kubectl.ensure_namespace(NAMESPACE)
    kubectl.run("apply", "-n", NAMESPACE, "-f", str(MANIFEST))
    phases.run("service ready", lambda: follow_until_ready(kubectl, NAMESPACE, SERVICE, READY_SECONDS))
    pictures = phases.run("pictures", lambda: draw_all(kubectl, NAMESPACE, SERVICE, REQUESTS))
    contact_sheet(pictures, SHEET)
    print(kubectl.run("get", "sdxl", "-n", NAMESPACE).rstrip())
    print(_closing(phases, kubectl))
    return 0


def down(cluster: Provider) -> int:
    """Remove the demo; a cluster that this repository made goes with it, another one only loses what was installed."""
    if cluster.name == "existing":
        kubectl = Kubectl(cluster.kubeconfig)
        kubectl.run("delete", "namespace", NAMESPACE, "--ignore-not-found")
        uninstall_chart(kubectl)
    else:
        cluster.down()
    return 0


def _closing(phases: Phases, kubectl: Kubectl) -> str:
    total = sum(phases.seconds.values())
    parts = ", ".join(f"{title} {seconds:.0f} s" for title, seconds in phases.seconds.items())
    return f"""
Pictures:      {SHEET.relative_to(ROOT)}
Seconds:       {parts}; {total:.0f} s in all
Try prompts:   export KUBECONFIG={kubectl.kubeconfig}
               kubectl -n {NAMESPACE} port-forward svc/{SERVICE} 8000:80    then open http://localhost:8000
Look around:   kubectl -n {NAMESPACE} describe sdxl {SERVICE}
Stop:          make demo-down"""


if __name__ == "__main__":
    sys.exit(main())
