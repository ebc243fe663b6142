"""Entries that the bank publishes later are taken up without a restart: what ran eagerly runs compiled from then on.

A thread looks for them and verifies their files; binding one is the engine's, once nothing is on its way: a picture
that one graph began and another finished would be neither's.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.painter import Painter

LOOK_SECONDS = 5.0
"""Between two looks at the accepted digests; a kubelet takes up to a minute to bring them into a pod."""

log = logging.getLogger(__name__)


class Unbound(Protocol):
    """The buckets without an entry; `loading.Unbound` is one."""

    def look(self) -> Sequence[tuple[Bucket, Any]]:
        """What the bank holds for them by now, in a form that `bind` takes."""

    def bind(self, painter: Painter, bucket: Bucket, entry: Any) -> None:
        """Run a bucket with an entry."""


class Renewals:
    """What was found and not taken up yet. `wake` is called when there is something."""

    def __init__(self, unbound: Unbound, wake: Callable[[], None], seconds: float = LOOK_SECONDS) -> None:
        self._unbound = unbound
        self._wake = wake
        self._seconds = seconds
        self._found: dict[Bucket, Any] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="renewals", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    @property
    def pending(self) -> bool:
        """Whether something waits to be taken up: nothing new is placed on the device until it was."""
        return bool(self._found)

    def take_up(self, painter: Painter) -> list[Bucket]:
        """Bind what was found; the buckets have to be measured anew. In the engine's thread, while nothing runs."""
        with self._lock:
            found, self._found = self._found, {}
        for bucket, entry in found.items():
            self._unbound.bind(painter, bucket, entry)
            log.info("took up the bank's entry for %s", bucket.key)
        return list(found)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                found = self._unbound.look()
            except Exception as error:  # a volume can fail in any way; what runs goes on
                log.warning("the bank cannot be looked at", exc_info=error)
                continue
            if found:
                with self._lock:
                    self._found.update(found)
                self._wake()
