"""The six things that an edit can cost, from the least to the most, and when each applies."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from sdxl_operator.plan.resolved import Resolved


class Impact(StrEnum):
    """What an edit costs; from Restart on, a new revision is cut."""

    NOTHING = "Nothing"
    LIVE = "Live"
    RESTART = "Restart"
    RECOMPILE = "Recompile"
    RETUNE = "Retune"
    REFETCH = "Refetch"

    @property
    def replaces_pods(self) -> bool:
        """Whether a new revision is cut, and replicas are replaced."""
        return self not in (Impact.NOTHING, Impact.LIVE)


IMPACTS: Mapping[Impact, str] = {
    Impact.NOTHING: "Nothing that runs is touched; it counts when a Job starts next, or when the last user goes.",
    Impact.LIVE: "It takes effect at once; replicas may come or go, but none is replaced.",
    Impact.RESTART: "Replicas are replaced, each after what it has accepted is done; nothing is fetched or compiled.",
    Impact.RECOMPILE: "What the tune bank lacks is compiled while the old replicas serve; then they are replaced.",
    Impact.RETUNE: "Another tune bank is filled, every bucket, while the old replicas serve; then they are replaced.",
    Impact.REFETCH: "Files are fetched, or checked in place, while the old replicas serve; then they are replaced.",
}
"""A sentence for each."""


def worst(impacts: Iterable[Impact]) -> Impact:
    """The one that costs most; Nothing where there is none."""
    return max(impacts, key=list(Impact).index, default=Impact.NOTHING)


def applies(impact: Impact, before: Resolved, after: Resolved) -> bool:
    """Whether an edit can cost this much: what has the same name as before is there and stays."""
    if impact is Impact.REFETCH:
        return bool({item.name for item in after.weights} - {item.name for item in before.weights})
    if impact is Impact.RETUNE:
        return after.bank_name not in (None, before.bank_name)
    if impact is Impact.RECOMPILE:
        return after.bank_name is not None and bool(set(after.bucket_keys) - set(before.bucket_keys))
    if impact is Impact.RESTART:
        return before.content != after.content
    return True
