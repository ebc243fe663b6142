"""Children: applied if they are ours, left alone if somebody else made them."""

from collections.abc import Mapping
from typing import Any

from sdxl_operator.cluster import Cluster, Forbidden, Invalid
from sdxl_operator.naming import Object, Reason, Ref, owner_reference


class NotOurs(Exception):
    """An object of that name exists and was not made for this owner."""

    def __init__(self, ref: Ref) -> None:
        super().__init__(
            f"a {ref.kind} named {ref.name} exists in this namespace and was not made for this object: "
            "rename one of the two, or delete it"
        )


FINAL = (Invalid, Forbidden)
"""What the API server says of an object that trying again will not change: the user has to."""

REFUSALS = (NotOurs, *FINAL)


async def apply_owned(cluster: Cluster, child: Object, owner: Mapping[str, Any]) -> Object:
    """Apply a child, unless an object of its name belongs to somebody else.

    Raises:
        NotOurs: it does.
        ClusterError: the API server refuses the child.
    """
    ref = Ref.of(child)
    live = await cluster.get(ref)
    if live is not None and not is_owned(live, owner):
        raise NotOurs(ref)
    return await cluster.apply(child)


def refusal_reason(error: Exception) -> Reason:
    """The reason of a condition for one of `REFUSALS`."""
    return Reason.NAME_TAKEN if isinstance(error, NotOurs) else Reason.CHILD_REFUSED


def is_owned(obj: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether an object names this owner as its controller."""
    uid = owner_reference(owner)["uid"]
    references = obj["metadata"].get("ownerReferences") or []
    return any(item.get("uid") == uid and item.get("controller") for item in references)
