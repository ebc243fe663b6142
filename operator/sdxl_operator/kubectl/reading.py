"""What a preview needs of the cluster: a service's revisions, the profiles, and the models and banks in question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from sdxl_operator import naming
from sdxl_operator.accept import Refusal, accept, measured, sentence
from sdxl_operator.api.service import Accelerator, ServiceSpec
from sdxl_operator.cluster import Cluster, Forbidden
from sdxl_operator.kubectl.errors import CommandError
from sdxl_operator.kubectl.preview import Seen
from sdxl_operator.naming import API_VERSION, BANK, MODEL, PROFILE, Object, Ref
from sdxl_operator.plan import revision
from sdxl_operator.plan.resolved import Resolved
from sdxl_operator.status.weights import UsedModel


@dataclass(frozen=True, slots=True)
class Known:
    """A service with what its specs are judged by, as the operator judges them."""

    service: Object
    revisions: Sequence[Object]
    profiles: Sequence[Object]
    remark: str = ""
    """What could not be read, and what stands in for it."""

    def resolved(self, spec: Mapping[str, Any]) -> Resolved:
        """The service with this spec, and the profile that the operator would take for it.

        Raises:
            CommandError: the operator would not accept it.
        """
        verdict = accept({**self.service, "spec": spec}, self.profiles)
        if isinstance(verdict, Refusal):
            raise CommandError(f"{verdict.finding.reason}: {verdict.finding.sentence}")
        frozen = revision.stored_for(verdict, self.revisions)
        return verdict if frozen is None else replace(verdict, profile=revision.stored_profile(frozen))

    def as_it_is(self, beside: Resolved) -> tuple[Resolved, str]:
        """The service as it is now; where that is not accepted, with the profile of `beside`, and a remark.

        Raises:
            CommandError: the spec cannot be read at all.
        """
        try:
            return self.resolved(self.service["spec"]), ""
        except CommandError as error:
            return replace(beside, spec=readable(self.service)), f"The spec that is there now is not accepted: {error}"


def readable(service: Mapping[str, Any]) -> ServiceSpec:
    """A service's spec.

    Raises:
        CommandError: it does not fit this version of the plugin; the message names the field.
    """
    try:
        return ServiceSpec.model_validate(service["spec"])
    except ValidationError as error:
        raise CommandError(f"{service['metadata']['name']}: {sentence(error, 'spec')}") from None


async def known(cluster: Cluster, service: Object) -> Known:
    """Read what belongs to a service; profiles that the user may not read are taken from its revisions.

    Raises:
        ClusterError: the API server refuses what nothing stands in for.
    """
    metadata = service["metadata"]
    labels = {**naming.MANAGED, naming.SERVICE_LABEL: metadata["name"]}
    found = await cluster.list("apps/v1", "ControllerRevision", metadata["namespace"], labels)
    revisions = sorted((item for item in found if _is_of(item, service)), key=lambda item: int(item["revision"]))
    frozen = {_profile_name(item): {"spec": item["data"]["profile"]} for item in revisions}
    remark = ""
    live: list[Object] = []
    try:
        live = await cluster.list(API_VERSION, PROFILE)
    except Forbidden:
        if not frozen:
            raise
        remark = f"You may not read {PROFILE}s: they are taken as this service's revisions froze them."
    names = {item["metadata"]["name"] for item in live}
    stored = [{**item, "metadata": {"name": name}} for name, item in frozen.items() if name not in names]
    return Known(service, revisions, [*live, *stored], remark)


async def seen(cluster: Cluster, service: Mapping[str, Any], *specs: Resolved) -> Seen:
    """The models that these specs ask for, and the banks of the namespace: others have measured buckets too."""
    namespace = service["metadata"]["namespace"]
    models = {item.name for spec in specs for item in spec.weights}
    banks = {spec.bank_name for spec in specs if spec.bank_name is not None}
    return Seen(
        service.get("status") or {},
        await _named(cluster, MODEL, namespace, models),
        await _banks(cluster, namespace, banks),
    )


def objection(spec: Resolved, found: Seen) -> str:
    """Why the operator would not accept a spec by what was measured of the files; empty if it would."""
    finding = measured(spec.spec, [UsedModel(item.use, found.models.get(item.name)) for item in spec.weights])
    return "" if finding.holds else f"It would not be accepted: {finding.sentence}"


async def _banks(cluster: Cluster, namespace: str, names: set[str]) -> dict[str, Object]:
    """The banks of a namespace, or those of these names where the user may not list them."""
    try:
        found = await cluster.list(API_VERSION, BANK, namespace)
    except Forbidden:
        return await _named(cluster, BANK, namespace, names)
    return {bank["metadata"]["name"]: bank for bank in found}


async def _named(cluster: Cluster, kind: str, namespace: str, names: set[str]) -> dict[str, Object]:
    found = {name: await cluster.get(Ref(API_VERSION, kind, namespace, name)) for name in sorted(names)}
    return {name: obj for name, obj in found.items() if obj is not None}


def _is_of(item: Mapping[str, Any], service: Mapping[str, Any]) -> bool:
    owners = item["metadata"].get("ownerReferences") or []
    return any(owner.get("uid") == service["metadata"].get("uid") for owner in owners)


def _profile_name(item: Mapping[str, Any]) -> str:
    return str((item["data"]["spec"].get("accelerator") or {}).get("profile") or Accelerator().profile)
