"""The operator's process: settings → client → checks → queue → watch, workers and re-list, all in one task group.

Whatever of these dies takes the process down, loudly; Kubernetes starts it again. SIGTERM ends it with 0.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial

import kopf
from kubernetes.aio.client import Configuration

from sdxl_operator import __version__, metrics
from sdxl_operator.cluster import ClusterError
from sdxl_operator.cluster.recorder import EventRecorder
from sdxl_operator.cluster.server import KubernetesCluster
from sdxl_operator.cluster.transport import Transport, load_configuration
from sdxl_operator.naming import Key
from sdxl_operator.reconcile import Context, SigningSecrets, reconcile
from sdxl_operator.runtime_client import HttpRuntime
from sdxl_operator.settings import OperatorSettings, SettingsError
from sdxl_operator.startup import StartupError, apply_profiles, check_crds, may_read_nodes
from sdxl_operator.watch import Login, handlers, watch
from sdxl_operator.workers import add_all, add_banks, resync, work
from sdxl_operator.workqueue import WorkQueue

log = logging.getLogger("sdxl_operator")

REST_SECONDS = 0.5
SIGNING_KEY_BYTES = 32


def main() -> int:
    """Run until a signal. 0: a signal ended it; 1: it could not go on; 2: the settings are wrong."""
    try:
        settings = OperatorSettings.from_environment(os.environ)
    except SettingsError as error:
        print(f"sdxl-operator: {error}", file=sys.stderr)
        return 2
    _log_at(settings.log_level)
    code = 0
    try:
        asyncio.run(_until_stopped(settings))
    except* (StartupError, ClusterError) as group:
        code = 1
        for reason in group.exceptions:
            log.critical("%s", reason)
    except* Exception:
        code = 1
        log.critical("the operator cannot go on", exc_info=True)
    return code


def _log_at(level: str) -> None:
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if level != "DEBUG":
        for chatty in ("aiohttp.access", "kopf.objects"):  # a line for each probe and each event
            logging.getLogger(chatty).setLevel(logging.WARNING)


async def operate(settings: OperatorSettings) -> None:
    """Be the operator until a signal comes.

    Raises:
        StartupError: CRDs are missing or too old.
        ClusterError: the API server could not be asked at the start.
        ExceptionGroup: something that must never end has ended.
    """
    configuration = await load_configuration()
    async with AsyncExitStack() as stack:
        transport = await stack.enter_async_context(
            Transport(
                configuration,
                queries_per_second=settings.queries_per_second,
                timeout_seconds=settings.request_timeout_seconds,
                observe=metrics.observe_call,
            )
        )
        cluster = KubernetesCluster(transport, EventRecorder(transport))
        await check_crds(cluster)
        if settings.profiles_folder:
            await apply_profiles(cluster, settings.profiles_folder)
        runtime = HttpRuntime()
        stack.push_async_callback(runtime.close)
        queue: WorkQueue[Key] = WorkQueue(rest=REST_SECONDS)
        context = Context(
            cluster,
            settings,
            now=lambda: datetime.now(UTC),
            runtime=runtime,
            enqueue=queue.add,
            signing=SigningSecrets(draw=partial(secrets.token_hex, SIGNING_KEY_BYTES)),
        )
        await _keep_turning(context, queue, login=partial(_connection, configuration))


async def _keep_turning(context: Context, queue: WorkQueue[Key], login: Login) -> None:
    settings, cluster = context.settings, context.cluster
    metrics.QUEUE_DEPTH.set_function(queue.__len__)
    if settings.metrics_port:
        metrics.serve(settings.metrics_port, settings.bind_address)
    everything = partial(add_all, cluster, queue, settings.namespace)
    banks = partial(add_banks, cluster, queue, settings.namespace) if await may_read_nodes(cluster) else None
    registry = handlers(queue, everything, login, banks)
    log.info("sdxl-operator %s watches %s", __version__, settings.namespace or "all namespaces")
    async with asyncio.TaskGroup() as tasks:
        # these begin before kopf does, or it would cancel them with its own on the way out
        workers = [tasks.create_task(work(queue, partial(reconcile, context=context))) for _ in range(settings.workers)]
        relist = tasks.create_task(resync(cluster, queue, settings.namespace, settings.resync_seconds))
        await watch(settings, registry)
        relist.cancel()
        queue.stop()
        _, late = await asyncio.wait(workers, timeout=settings.stop_timeout_seconds)
        for worker in late:
            worker.cancel()


async def _connection(configuration: Configuration) -> kopf.ConnectionInfo:
    """The same API server and account for kopf; asked again when a token has expired."""
    header = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        token=header.split(" ", 1)[-1] if header else None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )


async def _until_stopped(settings: OperatorSettings) -> None:
    # as PID 1 of a container, a process without handlers ignores SIGTERM; kopf puts its own in their place later
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await operate(settings)
    log.info("stopped")


if __name__ == "__main__":
    sys.exit(main())
