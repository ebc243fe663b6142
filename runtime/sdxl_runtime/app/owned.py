"""The routes to what one replica holds: jobs and pictures, by ids that carry their owner. The same on both ports."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from sdxl_runtime.app import forwarding, pictures
from sdxl_runtime.app.errors import APIError
from sdxl_runtime.app.service import Service
from sdxl_runtime.app.tasks import Task
from sdxl_runtime.protocol import ErrorBody, JobResponse
from sdxl_runtime.signing import Claim, Kind

JOBS = "/v1/jobs"
_NOUNS = {Kind.JOB: "job", Kind.PICTURE: "picture"}
_FAILURES: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorBody, "description": "No replica of this service made this id"},
    410: {"model": ErrorBody, "description": "It is no longer kept, or the replica that held it is gone"},
    503: {"model": ErrorBody, "description": "The replica that holds it did not answer"},
}
_PICTURE_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}, "image/jpeg": {}, "image/webp": {}}, "description": "The picture"},
    304: {"description": "The client has it"},
    **_FAILURES,
}


def owned_routes(service: Service, *, forwards: bool) -> APIRouter:
    """The routes of a port; only the public one `forwards`, so that no request goes further than one replica."""
    router = APIRouter()

    @router.get(f"{JOBS}/{{id}}", response_model=JobResponse, responses=_FAILURES)
    async def job(id: str, request: Request) -> Response:
        claim = _verified(service, id, Kind.JOB)
        if _is_other(service, claim):
            return await _forwarded(service, claim, request, forwards)
        return job_response(_task(service, claim))

    @router.delete(
        f"{JOBS}/{{id}}", response_model=JobResponse, responses={204: {"description": "Forgotten"}, **_FAILURES}
    )
    async def cancel(id: str, request: Request) -> Response:
        claim = _verified(service, id, Kind.JOB)
        if _is_other(service, claim):
            return await _forwarded(service, claim, request, forwards)
        task = _task(service, claim)
        if task.ended.is_set():
            service.tasks.forget(task)
            return Response(status_code=204)
        service.tasks.cancel(task)
        return job_response(task)

    @router.get(f"{pictures.PATH}/{{id}}", response_class=Response, responses=_PICTURE_ANSWERS)
    async def picture(id: str, request: Request) -> Response:
        claim = _verified(service, id, Kind.PICTURE)
        if _is_other(service, claim):
            return await _forwarded(service, claim, request, forwards)
        found = service.pictures.find(claim.id)
        if found is None:
            raise _forgotten(Kind.PICTURE)
        return pictures.response(found, claim, service.signer.clock(), request.headers)

    return router


def job_response(task: Task, status: int = 200) -> Response:
    """A job as it stands."""
    return Response(task.to_json(), status, {"Cache-Control": "no-store"}, media_type="application/json")


def _verified(service: Service, token: str, kind: Kind) -> Claim:
    """What an id says.

    Raises:
        APIError: 404, no replica of this service made it; 410, its time is over.
    """
    claim = service.signer.verify(token, kind)
    if claim is None:
        raise APIError(404, f"there is no such {_NOUNS[kind]}", f"{_NOUNS[kind]}_not_found")
    if claim.is_expired(service.signer.clock()):
        raise _forgotten(kind)
    return claim


def _is_other(service: Service, claim: Claim) -> bool:
    return claim.owner not in ("", service.signer.owner)


async def _forwarded(service: Service, claim: Claim, request: Request, forwards: bool) -> Response:
    if not forwards:
        raise APIError(404, "this belongs to another replica", "not_found")
    if not service.signer.owner:
        raise forwarding.gone()
    return await service.forwarder.forward(request.method, claim.owner, request.url.path, request.headers)


def _task(service: Service, claim: Claim) -> Task:
    task = service.tasks.find(claim.id)
    if task is None:
        raise _forgotten(Kind.JOB)
    return task


def _forgotten(kind: Kind) -> APIError:
    noun = _NOUNS[kind]
    return APIError(410, f"this {noun} is no longer kept: its time is over, or newer ones took its place", "gone")
