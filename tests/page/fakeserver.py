"""A stand-in for `sdxl-runtime serve` that speaks the streaming API and says afterwards what it was asked.

It serves the page's real files under their real policy. Its pictures are drawings that depend on prompt and seed only:
no model is behind it, and nothing it shows is a result.
"""

import asyncio
import base64
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from random import Random
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from PIL import Image, ImageDraw, ImageFilter
from starlette.datastructures import UploadFile

from sdxl_runtime import page
from sdxl_runtime.protocol import SCHEDULERS

SIZES = ("128x128", "160x96", "96x160")
LARGEST_STEPS = 150
TOKENS = 77


class Refused(Exception):
    """An answer that is not a success, in OpenAI's error body."""

    def __init__(self, status: int, message: str, param: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after
        self.body = {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": "refused"}}


@dataclass
class Asked:
    """One request for a picture, and what became of it."""

    path: str
    fields: dict[str, Any]
    files: dict[str, bytes]
    outcome: str = "running"
    """running, completed, cancelled or failed."""
    picture: bytes = b""


@dataclass
class FakeServer:
    """The stand-in; `url` ends without a slash. Behaviour may be changed between requests."""

    url: str = ""
    key: str | None = None
    """The API key that is asked for; None: none is."""
    step_seconds: float = 0.03
    queue_seconds: float = 0.0
    state: str = "Ready"
    refusals: list[Refused] = field(default_factory=list)
    """Each refuses one request for a picture."""
    break_at_step: int | None = None
    """The stream answers an error after so many steps; 0: it ends without a word."""
    asked: list[Asked] = field(default_factory=list)

    def in_flight(self) -> int:
        """Requests that hold a row now."""
        return sum(one.outcome == "running" for one in self.asked)


def model(server: FakeServer) -> dict[str, Any]:
    """What /v1/models says."""
    return {
        "id": "studio",
        "object": "model",
        "created": 1700000000,
        "owned_by": "sdxl-runtime",
        "sdxl": {
            "state": server.state,
            "sizes": list(SIZES),
            "buckets": [f"{size}b1" for size in SIZES],
            "schedulers": list(SCHEDULERS),
            "num_inference_steps": {"default": 20, "maximum": LARGEST_STEPS},
            "guidance_scale": {"default": 3.0, "maximum": 30.0},
            "scheduler": "Euler",
            "adapters": ["pixel"],
            "refiner": True,
            "prompt_tokens": dict.fromkeys(SIZES, TOKENS),
        },
    }


def create_app(server: FakeServer) -> FastAPI:
    """The routes."""
    app = FastAPI()

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
        return JSONResponse(error.body, error.status, headers)

    @app.get("/")
    async def index() -> Response:
        return page_file("index.html")

    @app.get("/page/{name}")
    def page_file(name: str) -> Response:
        content, media_type = page.read(name)
        return Response(content, media_type=media_type, headers={"Content-Security-Policy": page.POLICY})

    @app.get("/v1/models")
    async def models(request: Request) -> Any:
        check_key(server, request)
        return {"object": "list", "data": [model(server)]}

    @app.post("/v1/images/{kind}")
    async def images(kind: str, request: Request) -> Response:
        check_key(server, request)
        if server.refusals:
            raise server.refusals.pop(0)
        fields, files = await read(request)
        check(fields)
        asked = Asked(f"/v1/images/{kind}", fields, files)
        server.asked.append(asked)
        events = stream(server, asked, "image_edit" if kind == "edits" else "image_generation")
        return StreamingResponse(events, media_type="text/event-stream")

    return app


def check_key(server: FakeServer, request: Request) -> None:
    if server.key and request.headers.get("Authorization") != f"Bearer {server.key}":
        raise Refused(401, "the API key is missing or wrong; send Authorization: Bearer <key>")


async def read(request: Request) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The fields under their names and the uploads, of JSON or of a form with lists as JSON."""
    if request.headers["Content-Type"].startswith("application/json"):
        return await request.json(), {}
    fields: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    async with request.form() as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                files[name] = await value.read()
            else:
                fields[name] = json.loads(value) if name == "adapters" else value
    for name in ("seed", "num_inference_steps", "partial_images"):
        fields[name] = int(fields[name])
    return fields, files


def check(fields: Mapping[str, Any]) -> None:
    """What the page can get wrong."""
    if len(fields["prompt"].split()) > TOKENS:
        raise Refused(400, f"prompt has {len(fields['prompt'].split())} tokens; it may have {TOKENS}", "prompt")
    if fields["size"] not in SIZES:
        raise Refused(400, f"size is {fields['size']}; the nearest is {SIZES[0]}", "size")
    if fields["scheduler"] not in SCHEDULERS:
        raise Refused(400, f"scheduler is {fields['scheduler']}", "scheduler")


async def stream(server: FakeServer, asked: Asked, kind: str) -> AsyncIterator[str]:
    """Progress for each step, as many partial pictures as were asked for, and the picture."""
    fields, steps = asked.fields, int(asked.fields["num_inference_steps"])
    previews = {max(1, steps * (i + 1) // 4): i for i in range(fields["partial_images"])}
    wants_progress = str(fields.get("progress")).lower() == "true"
    try:
        if server.queue_seconds:
            if wants_progress:
                yield progress(kind, 0, steps, server.queue_seconds, queued=True)
            yield ": keep-alive\n\n"
            await asyncio.sleep(server.queue_seconds)
        for step in range(1, steps + 1):
            await asyncio.sleep(server.step_seconds)
            if server.break_at_step == step:
                asked.outcome = "failed"
                error = {"message": "the device failed on this request", "type": "server_error", "param": None}
                yield event("error", {"type": "error", "error": {**error, "code": "internal_error"}})
                return
            if server.break_at_step == 0:
                asked.outcome = "failed"
                return
            if wants_progress:
                yield progress(kind, step, steps, server.step_seconds * (steps - step), queued=False)
            if step in previews:
                picture = encode(draw(fields, 1 - step / steps), "png")
                members = {**common(fields, picture, "png"), "partial_image_index": previews[step]}
                yield event(f"{kind}.partial_image", {"type": f"{kind}.partial_image", **members})
        asked.picture = encode(draw(fields, 0), fields["output_format"])
        asked.outcome = "completed"
        members = common(fields, asked.picture, fields["output_format"])
        yield event(f"{kind}.completed", {"type": f"{kind}.completed", **members, **results(fields, steps)})
    finally:
        if asked.outcome == "running":
            asked.outcome = "cancelled"


def event(name: str, data: Mapping[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def progress(kind: str, step: int, steps: int, remaining: float, *, queued: bool) -> str:
    data = {"step": step, "steps": steps, "queued": queued, "seconds_per_step": 0.05, "remaining_seconds": remaining}
    return event(f"{kind}.progress", {"type": f"{kind}.progress", **data})


def common(fields: Mapping[str, Any], picture: bytes, output_format: str) -> dict[str, Any]:
    return {
        "b64_json": base64.b64encode(picture).decode(),
        "created_at": int(time.time()),
        "size": fields["size"],
        "quality": "auto",
        "background": "opaque",
        "output_format": output_format,
    }


def results(fields: Mapping[str, Any], steps: int) -> dict[str, Any]:
    usage = {"input_tokens": 9, "input_tokens_details": {"image_tokens": 0, "text_tokens": 9}}
    seconds = {"queue": 0.0, "encode": 0.01, "denoise": 0.6, "decode": 0.02, "encode_image": 0.01, "total": 0.64}
    return {
        "usage": {**usage, "output_tokens": 256, "total_tokens": 265},
        "seed": fields["seed"],
        "sdxl": {
            "bucket": f"{fields['size']}b1",
            "backend": "StandIn",
            "identity": "stand-in",
            "scheduler": fields["scheduler"],
            "num_inference_steps": steps,
            "guidance_scale": float(fields["guidance_scale"]),
            "evaluations": {"executed": steps, "nominal": steps},
            "seconds": seconds,
        },
    }


def draw(fields: Mapping[str, Any], noise: float) -> Image.Image:
    """A disc on a plane, by prompt and seed; `noise` from 0 to 1 hides it."""
    width, height = map(int, fields["size"].split("x"))
    random = Random(f"{fields['prompt']} {fields['seed']}")
    image = Image.new("RGB", (width, height), tuple(random.randrange(40, 160) for _ in range(3)))
    x, y, radius = random.uniform(0.3, 0.7) * width, random.uniform(0.3, 0.7) * height, min(width, height) / 5
    colour = tuple(random.randrange(120, 256) for _ in range(3))
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    if noise <= 0:
        return image
    grain = Image.effect_noise((width // 8, height // 8), 90).convert("RGB").resize((width, height))
    return Image.blend(image.filter(ImageFilter.GaussianBlur(noise * 12)), grain, noise * 0.8)


def encode(image: Image.Image, output_format: str) -> bytes:
    stream = BytesIO()
    image.save(stream, output_format.upper())
    return stream.getvalue()


class Running:
    """The stand-in on a free port of loopback, in a thread, while the `with` block runs."""

    def __enter__(self) -> FakeServer:
        self.listener = socket.create_server(("127.0.0.1", 0))
        server = FakeServer(f"http://127.0.0.1:{self.listener.getsockname()[1]}")
        config = uvicorn.Config(create_app(server), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        self.uvicorn = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.uvicorn.run, kwargs={"sockets": [self.listener]})
        self.thread.start()
        return server

    def __exit__(self, *_: object) -> None:
        self.uvicorn.should_exit = True
        self.thread.join()
        self.listener.close()
