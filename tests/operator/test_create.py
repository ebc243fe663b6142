"""What `KubernetesCluster.create` makes of the API server's answers; against a real one it is in tests/apiserver."""

from typing import Any, cast

import pytest

from sdxl_operator.cluster import ClusterError, Conflict, Forbidden
from sdxl_operator.cluster.recorder import EventRecorder
from sdxl_operator.cluster.server import KubernetesCluster
from sdxl_operator.cluster.transport import Transport, path_of
from sdxl_operator.naming import Object, Ref
from sdxl_operator.plan import signing
from tests.operator.builders import a_service


class OneAnswer:
    """A transport that gives one answer and remembers what it was asked."""

    def __init__(self, error: ClusterError | None = None) -> None:
        self.error = error
        self.calls: list[str] = []

    async def call(self, verb: str, method: str, ref: Ref, **details: Any) -> Object:
        self.calls.append(f"{verb} {method} {path_of(ref)}")
        if self.error is not None:
            raise self.error
        return dict(details["body"])


async def made(transport: OneAnswer) -> bool:
    found = cast(Transport, transport)
    return await KubernetesCluster(found, EventRecorder(found)).create(signing.build(a_service(), "00"))


async def test_an_object_is_posted_to_its_collection_and_nothing_is_read() -> None:
    transport = OneAnswer()
    assert await made(transport) is True
    assert transport.calls == ["create POST /api/v1/namespaces/team/secrets"]


async def test_an_object_that_is_there_already_is_no_error() -> None:
    transport = OneAnswer(Conflict(409, "AlreadyExists", 'secrets "studio-signing" already exists'))
    assert await made(transport) is False
    assert len(transport.calls) == 1


@pytest.mark.parametrize(
    "error",
    [
        Conflict(409, "Conflict", "Operation cannot be fulfilled on resourcequotas"),
        Forbidden(403, "Forbidden", "exceeded quota"),
    ],
    ids=["a quota that changes at this moment", "a quota that is used up"],
)
async def test_any_other_refusal_is_the_callers(error: ClusterError) -> None:
    with pytest.raises(type(error), match=error.message):
        await made(OneAnswer(error))
