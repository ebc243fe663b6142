"""What a turn needs, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sdxl_operator.cluster import Cluster
from sdxl_operator.naming import Key
from sdxl_operator.reconcile.signing import SigningSecrets
from sdxl_operator.runtime_client import Runtime
from sdxl_operator.settings import OperatorSettings

POLL = timedelta(seconds=3)
"""How soon to look again at something that moves without an event: a Job's progress, a loading replica."""

SOON = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Context:
    """The outside world of a turn; tests put in-memory ones here."""

    cluster: Cluster
    settings: OperatorSettings
    now: Callable[[], datetime]
    runtime: Runtime
    enqueue: Callable[[Key], None]
    signing: SigningSecrets


class Requeue(NamedTuple):
    """Look again after a while."""

    after: timedelta


def until(moment: datetime, now: datetime) -> Requeue:
    """Look again at a moment, or soon if it has passed."""
    return Requeue(max(moment - now, SOON))
