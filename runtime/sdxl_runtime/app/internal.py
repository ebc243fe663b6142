"""Port 8001: health, load and metrics, for probes, the operator and Prometheus; what other replicas ask for."""

from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

from sdxl_runtime import __version__, metrics
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
        work = service.batcher.load()
        return {
            "queuedSeconds": round(work.queued_seconds, 3),
            "inFlight": work.in_flight,
            "waiting": work.waiting,
        }

    @app.get("/metrics")
    async def prometheus() -> Response:
        work = service.batcher.load()
        text = service.metrics.render(work.queued_seconds, work.waiting, work.in_flight)
        return Response(text, headers={"Content-Type": metrics.CONTENT_TYPE})

    return app
