"""A request's body as its model: JSON, or for edits a form with files, which OpenAI's clients send."""

import json
from typing import Any, TypeVar

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from sdxl_runtime.admission import RequestError
from sdxl_runtime.app import errors
from sdxl_runtime.app.painting import Upload
from sdxl_runtime.protocol import EditRequest, ImageRequest
from sdxl_runtime.uploads import LARGEST_FILE, from_data_url

_Body = TypeVar("_Body", bound=ImageRequest)
_FILES = ("image", "mask")
_LISTS = ("adapters", "crop", "negative_crop")
_LARGEST_FIELD = 64 * 1024


async def read_json(request: Request, model: type[_Body]) -> _Body:
    """The JSON body.

    Raises:
        APIError: 400, it is not JSON or does not fit the model.
    """
    try:
        value = json.loads(await request.body())
    except UnicodeDecodeError:
        raise errors.APIError(400, "the body is not JSON: it is not UTF-8", "invalid_json") from None
    except json.JSONDecodeError as error:
        raise errors.APIError(
            400, f"the body is not JSON: {error.msg} at character {error.pos}", "invalid_json"
        ) from None
    except RecursionError:
        raise errors.APIError(400, "the body cannot be read as JSON: it is nested too deeply", "invalid_json") from None
    return _validated(model, value, strict=True)


async def read_edit(request: Request) -> tuple[EditRequest, Upload]:
    """An edit's fields and files, from a form or from JSON with data URLs.

    Raises:
        APIError: 400, it is neither, or does not fit.
    """
    try:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data":
            return await _read_form(request)
        body = await read_json(request, EditRequest)
        mask = None if body.mask is None else from_data_url(body.mask, "mask")
        return body, Upload(from_data_url(body.image, "image"), mask)
    except RequestError as error:
        raise errors.from_exception(error) from error


async def _read_form(request: Request) -> tuple[EditRequest, Upload]:
    async with request.form(max_files=4, max_fields=64, max_part_size=_LARGEST_FIELD) as form:
        files = {name: await _file(form, name) for name in _FILES}
        image = files["image"]
        texts = {name: value for name, value in form.items() if name.partition("[")[0] not in (*_FILES, *_LISTS)}
        fields = {name: _text(name, value) for name, value in texts.items()}
        fields |= {name: value for name in _LISTS if (value := _list(form, name)) is not None}
        known = {name: "a file" for name, content in files.items() if content is not None}
        body = _validated(EditRequest, {**fields, **known}, strict=False)
        assert image is not None  # the model requires it
        return body, Upload(image, files["mask"])


async def _file(form: FormData, name: str) -> bytes | None:
    parts = [*form.getlist(name), *form.getlist(f"{name}[]")]
    if not parts:
        return None
    if len(parts) > 1:
        raise RequestError(f"{name} is sent {len(parts)} times; send it once", name)
    part = parts[0]
    if not isinstance(part, UploadFile):
        return from_data_url(part, name)
    return await part.read(LARGEST_FILE + 1)


def _text(name: str, value: UploadFile | str) -> str:
    if isinstance(value, UploadFile):
        raise RequestError(f"{name} is sent as a file; only image and mask are", name)
    return value


def _list(form: FormData, name: str) -> Any:
    """A form has texts only: a list comes as JSON, or as OpenAI's client writes it (`crop[]`, `adapters[][name]`)."""
    whole = form.get(name)
    if whole is not None:
        try:
            return json.loads(_text(name, whole))
        except ValueError:
            return whole
    if items := form.getlist(f"{name}[]"):
        return [_number(_text(name, item)) for item in items]
    members = {key.removeprefix(f"{name}[][").removesuffix("]") for key in form if key.startswith(f"{name}[][")}
    columns = {member: form.getlist(f"{name}[][{member}]") for member in members}
    if not columns:
        return None
    length = max(len(column) for column in columns.values())
    if any(len(column) != length for column in columns.values()):
        raise RequestError(f"{name} has members that not every item has; send the list as JSON", name)
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, (_number(_text(name, value)) for value in row), strict=True)) for row in rows]


def _number(text: str) -> Any:
    try:
        return json.loads(text) if text[:1] in "-.0123456789" else text
    except ValueError:
        return text


def _validated(model: type[_Body], value: Any, *, strict: bool) -> _Body:
    try:
        return model.model_validate(value, strict=strict)
    except ValidationError as error:
        raise errors.from_validation(error.errors(), model) from None
