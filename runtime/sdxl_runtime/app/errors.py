"""OpenAI's error body for everything that goes wrong, in sentences that name the field and what would be right."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from sdxl_runtime.admission import RequestError, shorten
from sdxl_runtime.batcher import Closed, QueueFull
from sdxl_runtime.engine import EngineStopped
from sdxl_runtime.health import State
from sdxl_runtime.jobs import Abandoned
from sdxl_runtime.protocol import EXPECTED, ErrorBody, ErrorDetail, GenerationRequest
from sdxl_runtime.settings import Settings

_LOADING_RETRY_SECONDS = 5
_UNAVAILABLE = {
    State.LOADING: "the model is loading",
    State.WARMING: "the buckets are warming up",
    State.DRAINING: "this replica is going away; another one will answer",
    State.FAILED: "this replica has failed and will be replaced",
}


class APIError(Exception):
    """An answer that is not a success."""

    def __init__(
        self, status: int, message: str, code: str, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        kind = "rate_limit_error" if status == 429 else "server_error" if status >= 500 else "invalid_request_error"
        self.status = status
        self.body = ErrorBody(error=ErrorDetail(message=message, type=kind, param=param, code=code))
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}


def unavailable(state: State) -> APIError:
    """503 for a process that takes no work now."""
    retry = 1 if state is State.DRAINING else _LOADING_RETRY_SECONDS
    return APIError(503, _UNAVAILABLE.get(state, "not ready"), "service_unavailable", retry_after=retry)


def from_exception(error: BaseException, settings: Settings | None = None) -> APIError:
    """The answer for what admission, the queue or the engine raised."""
    match error:
        case APIError():
            return error
        case RequestError():
            return APIError(error.status, error.message, error.code, error.param)
        case QueueFull():
            return APIError(429, f"{error}", "rate_limit_exceeded", retry_after=error.retry_after)
        case Closed():
            return unavailable(State.DRAINING)
        case Abandoned():
            allowed = "its time" if settings is None else f"{settings.request_timeout_seconds:g} s"
            return APIError(504, f"the request took longer than {allowed}", "timeout")
        case EngineStopped():
            return unavailable(State.FAILED)
    return APIError(500, "the device failed on this request", "internal_error")


def from_validation(errors: Sequence[Any], model: type[BaseModel] = GenerationRequest) -> APIError:
    """400 for the first of pydantic's errors about a request's body."""
    error = errors[0]
    place = [part for part in error["loc"] if part != "body"]
    if error["type"] == "json_invalid":
        at = place[0] if place else "?"
        return APIError(400, f"the body is not JSON: {error['ctx']['error']} at character {at}", "invalid_json")
    if error["type"] == "combination":
        return APIError(400, error["ctx"]["sentence"], "invalid_combination", error["ctx"]["param"])
    if not place:
        return APIError(400, "the body must be a JSON object, sent with Content-Type: application/json", "invalid_type")
    field = str(place[0])
    if error["type"] == "extra_forbidden":
        return APIError(400, f"unknown field {shorten(field)}{_similar(field, model)}", "unknown_parameter", field[:60])
    return APIError(400, _sentence(field, error), error["type"], field)


def install(app: FastAPI) -> None:
    """Every answer of an application that is not a success has OpenAI's error body."""

    def answer(error: APIError) -> JSONResponse:
        return JSONResponse(error.body.model_dump(), error.status, error.headers)

    @app.exception_handler(APIError)
    async def known(request: Request, error: APIError) -> Response:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return answer(from_validation(error.errors()))

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        # FastAPI's own 400 says that the parser failed in another way than at a character: bad UTF-8, too deep
        message = "the body cannot be read as JSON" if error.status_code == 400 else f"{error.detail}"
        response = answer(APIError(error.status_code, message, "http_error"))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        return answer(APIError(500, "the server failed on this request", "internal_error"))


def _sentence(field: str, error: Mapping[str, Any]) -> str:
    value = error.get("input")
    if error["type"] == "missing":
        return f"{field} is missing; it must be {EXPECTED[field]}"
    if error["type"] == "unsupported":
        return f"{field} {shorten(value)} {error['msg']}"
    if error["type"] == "blank":
        return f"{field} {error['msg']}"
    if error["type"] == "string_unicode":
        return f"{field} holds half of a surrogate pair; it must be valid Unicode"
    if error["type"] == "string_too_long":
        return f"{field} has {len(value or '')} characters; it must be {EXPECTED[field]}"
    return f"{field} is {shorten(value)}; it must be {EXPECTED[field]}"


def _similar(field: str, model: type[BaseModel]) -> str:
    near = get_close_matches(field, list(model.model_fields), n=1)
    return f"; did you mean {near[0]}?" if near else ""
