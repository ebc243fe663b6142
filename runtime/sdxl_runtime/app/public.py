"""The API on port 8000: OpenAI's image generation, the models, and a page to try prompts."""

import time
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from sdxl_runtime import __version__
from sdxl_runtime.app import errors
from sdxl_runtime.app.generation import generate
from sdxl_runtime.app.observed import Observed
from sdxl_runtime.app.reading import read_edit
from sdxl_runtime.app.service import Service
from sdxl_runtime.protocol import (
    LARGEST_GUIDANCE,
    LARGEST_STEPS,
    SCHEDULERS,
    EditRequest,
    GenerationRequest,
    GenerationResponse,
)
from sdxl_runtime.settings import Settings

_PAGE_TYPES = {"page.js": "text/javascript", "page.css": "text/css"}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_EDIT_SCHEMA = EditRequest.model_json_schema(ref_template="#/components/schemas/{model}")
_FILE_SCHEMA = {"type": "string", "format": "binary"}
_EDIT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {k: v for k, v in _EDIT_SCHEMA.items() if k != "$defs"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image", "prompt"],
                    "additionalProperties": False,
                    "properties": {**_EDIT_SCHEMA["properties"], "image": _FILE_SCHEMA, "mask": _FILE_SCHEMA},
                }
            },
        },
    }
}


def create_public_app(service: Service) -> FastAPI:
    """The API on port 8000: OpenAI's image generation, the models, and a page to try prompts."""
    app = FastAPI(title="sdxl-runtime", version=__version__, docs_url=None, redoc_url=None)
    app.add_middleware(Observed, service=service)
    errors.install(app)
    created = int(time.time())

    @app.post("/v1/images/generations", response_model=GenerationResponse)
    async def generations(body: GenerationRequest, request: Request) -> Response:
        return await generate(service, body, request)

    @app.post("/v1/images/edits", response_model=GenerationResponse, openapi_extra=_EDIT_BODY)
    async def edits(request: Request) -> Response:
        body, upload = await read_edit(request)
        return await generate(service, body, request, upload)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(service, created)]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        if name != service.settings.model_name:
            raise errors.APIError(404, f"the model {name[:60]!r} does not exist", "model_not_found", "model")
        return _model(service, created)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return _page_file("index.html", "text/html")

    @app.get("/page/{name}", include_in_schema=False)
    async def page_file(name: str) -> Response:
        if name not in _PAGE_TYPES:
            raise errors.APIError(404, "there is no such file", "not_found")
        return _page_file(name, _PAGE_TYPES[name])

    return app


def _model(service: Service, created: int) -> dict[str, Any]:
    settings, painter = service.settings, service.engine.painter
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
            "adapters": list(painter.adapters) if painter else [],
            "refiner": painter.refines if painter else False,
            "prompt_tokens": {bucket.size: _tokens(settings, bucket.size) for bucket in settings.buckets},
        },
    }


def _tokens(settings: Settings, size: str) -> int:
    return max(bucket.token_limit for bucket in settings.buckets if bucket.size == size)


def _page_file(name: str, media_type: str) -> Response:
    content = (files("sdxl_runtime") / "page" / name).read_bytes()
    headers = {
        "Content-Security-Policy": _PAGE_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
    return Response(content, media_type=media_type, headers=headers)
