"""What the routes work with."""

from dataclasses import dataclass

from opentelemetry.sdk.trace import TracerProvider

from sdxl_runtime.app.forwarding import Forwarder
from sdxl_runtime.app.keys import Keys
from sdxl_runtime.app.pictures import Pictures
from sdxl_runtime.app.tasks import Tasks
from sdxl_runtime.batcher import Batcher
from sdxl_runtime.engine import Engine
from sdxl_runtime.health import Health
from sdxl_runtime.metrics import Metrics
from sdxl_runtime.settings import Settings
from sdxl_runtime.signing import Signer


@dataclass(frozen=True, slots=True)
class Service:
    """One serving process, put together by `sdxl_runtime.serving`."""

    settings: Settings
    health: Health
    batcher: Batcher
    engine: Engine
    metrics: Metrics
    signer: Signer
    keys: Keys
    tasks: Tasks
    pictures: Pictures
    forwarder: Forwarder
    tracer_provider: TracerProvider | None = None
    """Where spans go; None: nowhere."""
