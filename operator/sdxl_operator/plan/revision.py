"""Revisions: the pods of a service, frozen. What is applied is the stored template, so a newer operator rolls nobody.

A revision's `content` is the part of the spec that it freezes. Among the stored revisions of a content the completed
one wins: its pods have run, whatever a newer operator or profile would make of the same spec. One that never completed
is made anew when the template changes, so that correcting a profile cures a rollout that could not succeed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sdxl_operator import naming
from sdxl_operator.api.profile import ProfileSpec
from sdxl_operator.naming import Object
from sdxl_operator.plan.resolved import Resolved

CONTENT_LABEL = f"{naming.GROUP}/content"
COMPLETED_ANNOTATION = f"{naming.GROUP}/completed"
FAILED_ANNOTATION = f"{naming.GROUP}/failed"
HISTORY_LIMIT = 5


def build(owner: Mapping[str, Any], service: Resolved, template: Object, number: int) -> Object:
    """The ControllerRevision of a service's content and template."""
    content = naming.digest(service.content)
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{service.name[:40]}-{naming.digest([content, template])}",
            "namespace": service.namespace,
            "labels": {
                **naming.labels("revision", service.name),
                naming.SERVICE_LABEL: service.name,
                CONTENT_LABEL: content,
            },
            "ownerReferences": [naming.owner_reference(owner)],
        },
        "revision": number,
        "data": {
            "spec": service.content,
            "profile": service.profile.model_dump(by_alias=True, mode="json", exclude_none=True),
            "template": template,
            "uses": {"models": sorted({item.name for item in service.weights}), "bank": service.bank_name or ""},
        },
    }


def completed(revision: Mapping[str, Any]) -> bool:
    """Whether a rollout of this revision ever finished."""
    return COMPLETED_ANNOTATION in (revision["metadata"].get("annotations") or {})


def why_failed(revision: Mapping[str, Any]) -> str:
    """Why a rollout of this revision was given up, empty if none was."""
    return str((revision["metadata"].get("annotations") or {}).get(FAILED_ANNOTATION, ""))


def last_completed(revisions: Sequence[Object], but: str) -> Object | None:
    """The newest revision that ever ran whole, another than the one of this name."""
    done = [item for item in revisions if completed(item) and item["metadata"]["name"] != but]
    return max(done, key=lambda item: int(item["revision"]), default=None)


def models_used(revision: Mapping[str, Any]) -> tuple[str, ...]:
    """The SDXLModels that its pods mount."""
    uses = revision["data"]["uses"]
    # a revision of 0.1.0 has one, and is applied as it is stored
    return tuple(uses["models"]) if "models" in uses else (str(uses["model"]),)


def stored_for(service: Resolved, revisions: Sequence[Object]) -> Object | None:
    """The completed revision of this content, the newest if there are several."""
    content = naming.digest(service.content)
    same = [item for item in revisions if item["metadata"]["labels"].get(CONTENT_LABEL) == content and completed(item)]
    return max(same, key=lambda item: int(item["revision"]), default=None)


def stored_profile(revision: Mapping[str, Any]) -> ProfileSpec:
    """The profile as it was when the revision was cut."""
    return ProfileSpec.model_validate(revision["data"]["profile"])


def next_number(revisions: Sequence[Object]) -> int:
    """The number of the next revision."""
    return max((int(item["revision"]) for item in revisions), default=0) + 1


def surplus(revisions: Sequence[Object], in_use: set[str]) -> list[Object]:
    """The oldest revisions beyond the history limit, those in use left out."""
    newest_first = sorted(revisions, key=lambda item: int(item["revision"]), reverse=True)
    return [item for item in newest_first[HISTORY_LIMIT:] if item["metadata"]["name"] not in in_use]
