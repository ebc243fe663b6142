"""The API on port 8000: OpenAI's image generation, the models, and a page to try prompts."""

import time
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from sdxl_runtime import __version__, page
from sdxl_runtime.app import errors
from sdxl_runtime.app.generation import generate
from sdxl_runtime.app.observed import Observed
from sdxl_runtime.app.service import Service
from sdxl_runtime.protocol import LARGEST_GUIDANCE, LARGEST_STEPS, SCHEDULERS, GenerationRequest, GenerationResponse


def create_public_app(service: Service) -> FastAPI:
    """The API on port 8000: OpenAI's image generation, the models, and a page to try prompts."""
    app = FastAPI(title="sdxl-runtime", version=__version__, docs_url=None, redoc_url=None)
    app.add_middleware(Observed, service=service)
    errors.install(app)
    created = int(time.time())

    @app.post("/v1/images/generations", response_model=GenerationResponse)
    async def generations(body: GenerationRequest, request: Request) -> Response:
        return await generate(service, body, request)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(service, created)]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        if name != service.settings.model_name:
            raise errors.APIError(404, f"the model {name[:60]!r} does not exist", "model_not_found", "model")
        return _model(service, created)

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return _page_file("index.html")

    @app.get("/page/{name}", include_in_schema=False)
    async def page_file(name: str) -> Response:
        return _page_file(name)

    return app


def _model(service: Service, created: int) -> dict[str, Any]:
    settings = service.settings
    return {
        "id": settings.model_name,
        "object": "model",
        "created": created,
        "owned_by": "sdxl-runtime",
        "sdxl": {
            "state": service.health.state,
            "sizes": list(dict.fromkeys(bucket.size for bucket in settings.buckets)),
            "buckets": [bucket.key for bucket in settings.buckets],
            "schedulers": list(SCHEDULERS),
            "num_inference_steps": {"default": settings.default_steps, "maximum": LARGEST_STEPS},
            "guidance_scale": {"default": settings.default_guidance_scale, "maximum": LARGEST_GUIDANCE},
            "scheduler": settings.default_scheduler,
        },
    }


def _page_file(name: str) -> Response:
    try:
        content, media_type = page.read(name)
    except KeyError:
        raise errors.APIError(404, "there is no such file", "not_found") from None
    headers = {
        "Content-Security-Policy": page.POLICY,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
    return Response(content, media_type=media_type, headers=headers)
