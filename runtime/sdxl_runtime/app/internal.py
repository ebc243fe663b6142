"""Port 8001: health, load and metrics, for probes, the operator and Prometheus; what other replicas ask for."""

from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

from sdxl_runtime import __version__, metrics, work
from sdxl_runtime.app import errors
from sdxl_runtime.app.forwarding import Named
from sdxl_runtime.app.owned import owned_routes
from sdxl_runtime.app.service import Service
from sdxl_runtime.health import State


def create_internal_app(service: Service) -> FastAPI:
    """Health, load and metrics on port 8001."""
    app = FastAPI(title="sdxl-runtime internal", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    errors.install(app)
    app.add_middleware(Named, owner=service.signer.owner)
    app.include_router(owned_routes(service, forwards=False))

    @app.get("/healthz")
    async def healthz() -> Response:
        alive = service.engine.alive
        return Response(
            "ok" if alive else "the engine's thread has ended", 200 if alive else 500, media_type="text/plain"
        )

    @app.get("/readyz")
    async def readyz() -> Response:
        body = service.health.to_json()
        return JSONResponse(body, 200 if body["state"] == State.READY else 503)

    @app.get("/v1/load")
    async def load() -> dict[str, Any]:
        load, costs, steps = service.batcher.load(), service.engine.costs, service.settings.default_steps
        return {
            "queuedSeconds": round(load.queued_seconds, 3),
            "inFlight": load.in_flight,
            "waiting": load.waiting,
            "capacity": [
                {
                    "key": bucket.key,
                    "secondsPerStep": round(costs[bucket].step, 6),
                    "picturesPerSecond": round(work.pictures_per_second(bucket, costs, steps), 4),
                    "batchGainPercent": work.gain_percent(bucket, costs),
                }
                for bucket in service.settings.buckets
                if bucket in costs
            ],
        }

    @app.get("/metrics")
    async def prometheus() -> Response:
        load = service.batcher.load()
        text = service.metrics.render(load.queued_seconds, load.waiting, load.in_flight)
        return Response(text, headers={"Content-Type": metrics.CONTENT_TYPE})

    return app
