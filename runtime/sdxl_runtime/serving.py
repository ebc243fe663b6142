"""`serve`: settings → engine (device, model, graphs) → queue → the two applications → uvicorn; signals → drain."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Generator
from dataclasses import asdict
from typing import Any

import uvicorn

from sdxl_runtime.app import Service, create_internal_app, create_public_app, tracing
from sdxl_runtime.app.forwarding import Forwarder
from sdxl_runtime.app.keys import Keys
from sdxl_runtime.app.pictures import Pictures
from sdxl_runtime.app.tasks import Tasks
from sdxl_runtime.batcher import Batcher
from sdxl_runtime.buckets import Bucket, Cost
from sdxl_runtime.engine import Engine
from sdxl_runtime.health import Health
from sdxl_runtime.loading import Unbound, load_painter
from sdxl_runtime.metrics import Metrics
from sdxl_runtime.protocol import LARGEST_GUIDANCE, LARGEST_STEPS, SCHEDULERS
from sdxl_runtime.settings import CompileMode, Settings, SettingsError
from sdxl_runtime.signing import Signer, owner_of, read_key
from sdxl_runtime.termination import Reason, classify, finish

_CLOSING_SECONDS = 10
"""After the last picture: for encoding and sending it."""
_FETCHING_SECONDS = 30
"""A drain waits so long after a job's end, or after a picture was put behind a URL, for somebody to fetch it."""
_JOIN_SECONDS = 2
_POLL_SECONDS = 0.05

log = logging.getLogger(__name__)


def main(settings: Settings) -> int:
    """Serve until SIGTERM; the exit code is that of docs/contract.md."""
    check(settings)
    service = create_service(settings)
    code = asyncio.run(serve(service))
    if not service.engine.join(_JOIN_SECONDS):
        # Its thread is still inside the model's libraries, which abort when the interpreter goes away beneath them.
        logging.shutdown()
        os._exit(code)
    return code


def check(settings: Settings) -> None:
    """What `serve` needs beyond what `Settings` checks.

    Raises:
        SettingsError: naming the variable, its value and what would be right.
    """
    if not settings.buckets:
        raise SettingsError('SDXL_BUCKETS is empty; name at least one, e.g. [{"width":1024,"height":1024,"batch":1}]')
    if settings.default_scheduler not in SCHEDULERS:
        raise SettingsError(
            f"SDXL_DEFAULT_SCHEDULER is {settings.default_scheduler!r}; it must be one of {', '.join(SCHEDULERS)}"
        )
    if not 1 <= settings.default_steps <= LARGEST_STEPS:
        raise SettingsError(f"SDXL_DEFAULT_STEPS is {settings.default_steps}; it must be from 1 to {LARGEST_STEPS}")
    if not 0 <= settings.default_guidance_scale <= LARGEST_GUIDANCE:
        raise SettingsError(
            f"SDXL_DEFAULT_GUIDANCE_SCALE is {settings.default_guidance_scale:g}; "
            f"it must be from 0 to {LARGEST_GUIDANCE:g}"
        )


def create_service(settings: Settings) -> Service:
    """The parts of a serving process, put together; nothing runs yet."""
    health = Health(settings.buckets)
    costs: dict[Bucket, Cost] = {}
    batcher = Batcher(settings.queue_limit_seconds, settings.request_timeout_seconds, costs)
    metrics = Metrics(settings.backend)
    engine = Engine(
        lambda: load_painter(settings, health),
        batcher,
        health,
        metrics,
        settings.buckets,
        costs,
        settings.default_scheduler,
        Unbound(settings, health) if settings.compile_mode is not CompileMode.EAGER else None,
    )
    signer = Signer(read_key(settings.signing_key_path), owner_of(settings.advertised_host, settings.internal_port))
    return Service(
        settings,
        health,
        batcher,
        engine,
        metrics,
        signer,
        Keys(settings.api_keys_path),
        Tasks(signer, batcher.abandon),
        Pictures(signer),
        Forwarder(),
        tracing.configured_provider(os.environ, settings.model_name),
    )


async def serve(service: Service) -> int:
    """Listen on both ports from the start, so that probes and clients get answers while the model loads."""
    settings = service.settings
    stop = _Signals()
    servers = [
        (_Server(create_public_app(service)), listening_socket(settings.host, settings.port)),
        (_Server(create_internal_app(service)), listening_socket(settings.host, settings.internal_port)),
    ]
    tasks = [asyncio.create_task(server.serve([listener])) for server, listener in servers]
    try:
        log.info("listening", extra={"facts": {"port": settings.port, "internal_port": settings.internal_port}})
        service.engine.start()
        return await _live(service, stop)
    finally:
        for server, _ in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)
        await service.forwarder.close()
        if service.tracer_provider is not None:
            await asyncio.to_thread(service.tracer_provider.shutdown)  # sends what is left


async def _live(service: Service, stop: "_Signals") -> int:
    engine, health, batcher = service.engine, service.health, service.batcher
    await _until(lambda: engine.settled.is_set() or stop.count > 0)
    if engine.error is not None:
        return _cannot_serve(service, engine.error)
    if stop.count == 0:
        log.info("ready", extra={"facts": {"identity": health.identity, **health.seconds}})
    recycle = service.settings.recycle_after_requests
    await _until(lambda: stop.count > 0 or not engine.alive or 0 < recycle <= service.metrics.finished_requests)
    if (error := service.engine.error) is not None:
        return _cannot_serve(service, error)
    log.info("draining", extra={"facts": {**asdict(batcher.load()), "finished": service.metrics.finished_requests}})
    health.drain()
    batcher.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(service.settings.drain_timeout_seconds):
            await _until(lambda: (batcher.load().idle and not _is_awaited(service)) or stop.count > 1)
    drained = batcher.load().idle and engine.error is None
    batcher.stop()
    log.info("stopped" if drained else "stopped before accepted work was done")
    return 0 if drained else 1


def _is_awaited(service: Service) -> bool:
    """Whether something was just made here that nobody has come for yet: with the process it is lost."""
    return service.tasks.awaited(_FETCHING_SECONDS) or service.pictures.awaited(_FETCHING_SECONDS)


def _cannot_serve(service: Service, error: BaseException) -> int:
    failure = classify(error)
    service.health.fail(failure.message)
    finish(
        service.settings.termination_log,
        {"error": {"reason": failure.reason, "message": failure.message[:3000], "bucket": failure.bucket}},
    )
    return 2 if failure.reason is Reason.INVALID_SETTINGS else 1


class _Signals:
    """Counts SIGTERM and SIGINT; the first asks for a drain, the second for an end."""

    def __init__(self) -> None:
        self.count = 0
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._received)

    def _received(self) -> None:
        self.count += 1


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: two servers in one process end together, after the drain."""

    def __init__(self, app: Any) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=_CLOSING_SECONDS,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the handlers as they are."""
        yield


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens, IPv6 where the host is.

    Raises:
        SettingsError: it cannot listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise SettingsError(f"cannot listen on {host} port {port}: {error.strerror}; choose another port") from error
    # Inherited by every connection. asyncio sets it only where the socket was made with the protocol's number, which
    # create_server does not do: a body that follows its head then waits for the client's delayed acknowledgement, 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the engine's thread and the queue have no event of this loop
        await asyncio.sleep(_POLL_SECONDS)
