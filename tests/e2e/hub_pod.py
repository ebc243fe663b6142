"""Runs in the cluster, in the runtime's image: the tests' hub with the demo model, and a port by which a test rules it.

Usage: python -m tests.e2e.hub_pod HUB STORAGE   (the addresses by which pods reach ports 8080 and 8081)

Port 8082: POST the hub's whole behaviour as JSON, members as `FakeHub` has them; GET what it has seen since.
"""

import json
import sys
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sdxl_runtime.sources.demo import packaged
from tests.runtime.fakehub import FakeHub, Fault, served


def demo_model() -> dict[str, bytes]:
    """The files of demo://shapes by their paths."""
    with packaged("demo://shapes") as folder:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rule(hub: FakeHub, wanted: dict[str, Any]) -> None:
    """Behave so from now on, and as a good hub in all that is not named; connections that hang end."""
    faults = {path: [Fault(**each) for each in several] for path, several in wanted.get("faults", {}).items()}
    hub.faults = defaultdict(list, faults)
    hub.forever = {path: Fault(**each) for path, each in wanted.get("forever", {}).items()}
    hub.lies = wanted.get("lies", {})
    hub.tokens, hub.gated = set(wanted.get("tokens", [])), bool(wanted.get("gated"))
    for seen in (hub.served, hub.asked, hub.leaks):
        seen.clear()
    hanging, hub.release = hub.release, threading.Event()
    hanging.set()


def seen(hub: FakeHub) -> dict[str, Any]:
    """What was asked for, and how many bytes of each file were sent."""
    sizes = {path: len(content) for path, content in hub.files.items()}
    return {"served": hub.served, "asked": hub.asked, "leaks": hub.leaks, "sizes": sizes}


def main() -> None:
    """Serve until the pod ends."""
    hub = FakeHub(demo_model())
    hub.endpoint, hub.storage = sys.argv[1:3]

    class Control(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            rule(hub, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer()

        def answer(self) -> None:
            body = json.dumps(seen(hub)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """The tests read what was seen."""

    with served(hub, "0.0.0.0", (8080, 8081)):
        ThreadingHTTPServer(("0.0.0.0", 8082), Control).serve_forever()


if __name__ == "__main__":
    main()
