"""What the routes work with."""

from dataclasses import dataclass

from sdxl_runtime.batcher import Batcher
from sdxl_runtime.engine import Engine
from sdxl_runtime.health import Health
from sdxl_runtime.metrics import Metrics
from sdxl_runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Service:
    """One serving process, put together by `sdxl_runtime.serving`."""

    settings: Settings
    health: Health
    batcher: Batcher
    engine: Engine
    metrics: Metrics
