"""Where buckets are compiled when accelerators are scarce: pure. A card serves one container at a time, replicas too.

A Job comes first. Where no accelerator becomes free for it, it takes one that a replica gives up, if the service lets
it; else replicas compile before they serve. Who gave one up is decided anew in every turn from what is seen, so that
it comes back whatever happens to the Job, the bank or the operator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sdxl_operator.api.service import Placement
from sdxl_operator.naming import Object

PATIENCE_SECONDS = 10
"""How long a Job waits for an accelerator to become free by itself."""


class Method(StrEnum):
    """Where the compiling is done."""

    JOB = "Job"
    BORROWED = "Borrowed"
    INIT_CONTAINER = "InitContainer"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A service that uses the bank, and how many of its replicas hold an accelerator."""

    name: str
    holding: int
    placement: Placement = Placement.AUTO
    borrow: bool = True

    @property
    def lends(self) -> bool:
        """Whether it may be asked for one, and has one."""
        return self.holding > 0 and self.borrow and self.placement is not Placement.INIT_CONTAINER


@dataclass(frozen=True, slots=True)
class Placed:
    """The decision, and a sentence on why."""

    method: Method = Method.JOB
    lender: str | None = None
    message: str = ""

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> "Placed":
        """What a bank's status remembers."""
        before = status.get("placement") or {}
        return cls(Method(before.get("method", "Job")), before.get("lender"), before.get("message", ""))

    def to_status(self) -> Object:
        """The member of status."""
        optional = {"lender": self.lender, "message": self.message}
        return {"method": self.method.value, **{name: value for name, value in optional.items() if value}}


def by_wish(candidates: Sequence[Candidate]) -> Method:
    """What the services that use a bank ask for: their pods compile only if all of them say so."""
    asked = [item.placement is Placement.INIT_CONTAINER for item in candidates]
    return Method.INIT_CONTAINER if asked and all(asked) else Method.JOB


def stays_in_pods(candidates: Sequence[Candidate], before: Placed) -> bool:
    """Whether pods go on compiling because a Job found no accelerator: until somebody may lend one."""
    holders = [item for item in candidates if item.holding]
    return before.method is Method.INIT_CONTAINER and bool(holders) and not any(item.lends for item in holders)


def of_job(shortage: str, at_work: bool, candidates: Sequence[Candidate], before: Placed, resource: str) -> Placed:
    """Where a Job that was started stands.

    `shortage` is the scheduler's word on why it has no accelerator, empty where it has or waits for something else or
    not for long; `at_work` is false once it ended or failed, `resource` the name of what is scarce.
    """
    if not at_work:
        return Placed(before.method, message=before.message)
    if before.lender in {item.name for item in candidates if item.borrow}:
        return before
    if not shortage:
        return Placed(Method.JOB)
    lenders = [item for item in candidates if item.lends]
    if lenders:
        lender = max(lenders, key=lambda item: (item.holding, item.name))
        count = f"one of the {lender.holding} replicas" if lender.holding > 1 else "the replica"
        text = f"no {resource} is free: {count} of SDXLService {lender.name} lends its own until the Job ends"
        return Placed(Method.BORROWED, lender.name, text)
    holders = [item for item in candidates if item.holding]
    if holders and all(item.placement is Placement.AUTO for item in holders):
        text = f"no {resource} is free, and spec.compile.borrow is false: each replica compiles before it serves"
        return Placed(Method.INIT_CONTAINER, message=text)
    return Placed(Method.JOB, message=f"no {resource} is free: {shortage}")


def shortage(pod: Mapping[str, Any], resource: str, seconds: float) -> str:
    """The scheduler's word on a pod that has waited this long for lack of a resource; else empty."""
    if pod["spec"].get("nodeName") or seconds < PATIENCE_SECONDS:
        return ""
    conditions = pod.get("status", {}).get("conditions") or []
    said = next((str(item.get("message", "")) for item in conditions if item["type"] == "PodScheduled"), "")
    return said if f"Insufficient {resource}" in said else ""
