"""The API on port 8000: OpenAI's image generation, the models, and a page to try prompts."""

import time
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from sdxl_runtime import __version__, page
from sdxl_runtime.app import errors, tracing
from sdxl_runtime.app.generation import generate
from sdxl_runtime.app.headers import LONGEST_KEY
from sdxl_runtime.app.keys import Guarded
from sdxl_runtime.app.leaving import Leaving
from sdxl_runtime.app.observed import Observed
from sdxl_runtime.app.owned import owned_routes
from sdxl_runtime.app.reading import read_edit
from sdxl_runtime.app.service import Service
from sdxl_runtime.protocol import (
    LARGEST_GUIDANCE,
    LARGEST_STEPS,
    SCHEDULERS,
    EditRequest,
    GenerationRequest,
    GenerationResponse,
    JobResponse,
)
from sdxl_runtime.settings import Settings

_HEADERS: dict[str, Any] = {
    "parameters": [
        {
            "name": "Prefer",
            "in": "header",
            "schema": {"type": "string"},
            "description": "`respond-async`: answer 202 with a job at once (RFC 7240)",
        },
        {
            "name": "Idempotency-Key",
            "in": "header",
            "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
            "description": "Repeated with the same body, the request is not painted again",
        },
    ]
}
_JOB_ANSWER: dict[int | str, dict[str, Any]] = {
    202: {"model": JobResponse, "description": "With `Prefer: respond-async`: the job; its URL is in `Location`"}
}
_EDIT_SCHEMA = EditRequest.model_json_schema(ref_template="#/components/schemas/{model}")
_FILE_SCHEMA = {"type": "string", "format": "binary"}
_EDIT_BODY = {
    **_HEADERS,
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
    },
}


def create_public_app(service: Service) -> FastAPI:
    """The API on port 8000: OpenAI's image generation, the models, and a page to try prompts."""
    app = FastAPI(title="sdxl-runtime", version=__version__, docs_url=None, redoc_url=None)
    app.add_middleware(Guarded, keys=service.keys)
    app.add_middleware(Observed, service=service)  # around the other one: what it refuses is counted too
    app.add_middleware(Leaving, health=service.health)
    errors.install(app)
    app.include_router(owned_routes(service, forwards=True))
    created = int(time.time())

    @app.post(
        "/v1/images/generations",
        response_model=GenerationResponse,
        responses=_JOB_ANSWER,
        openapi_extra=_HEADERS,
    )
    async def generations(body: GenerationRequest, request: Request) -> Response:
        return await generate(service, body, request)

    @app.post("/v1/images/edits", response_model=GenerationResponse, responses=_JOB_ANSWER, openapi_extra=_EDIT_BODY)
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
    async def index() -> Response:
        return _page_file("index.html")

    @app.get("/page/{name}", include_in_schema=False)
    async def page_file(name: str) -> Response:
        return _page_file(name)

    if service.tracer_provider is not None:
        tracing.instrument(app, service.tracer_provider)
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
