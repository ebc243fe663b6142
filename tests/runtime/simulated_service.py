"""A serving process's parts over the simulated device, in this process, for tests of the routes."""

from collections.abc import Iterator
from contextlib import contextmanager

from sdxl_runtime.app import Service
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.serving import create_service
from sdxl_runtime.settings import Backend, Settings

SETTINGS = Settings(
    backend=Backend.SIMULATED,
    model_name="studio",
    buckets=(Bucket(128, 128), Bucket(96, 160, 2)),
    queue_limit_seconds=1000,
    default_steps=3,
    simulated_milliseconds=1,
)


@contextmanager
def started(settings: Settings = SETTINGS) -> Iterator[Service]:
    """A service that is ready; its engine is stopped at the end."""
    service = create_service(settings)
    service.engine.start()
    try:
        assert service.engine.settled.wait(30)
        yield service
    finally:
        service.batcher.stop()
        assert service.engine.join(30)
