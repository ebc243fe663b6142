"""What has to be so before the operator may run: CRDs that know its fields, and the profiles that came with it."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import yaml

from sdxl_operator import crd, naming
from sdxl_operator.api import KINDS
from sdxl_operator.cluster import Cluster, Forbidden, Invalid
from sdxl_operator.naming import Object, Ref

log = logging.getLogger(__name__)

ADVICE = "apply the crds/ folder of this version, or set crds.enabled in the chart"
SERVED_SECONDS = 60.0
POLL_SECONDS = 0.5
SHOWN = 5


class StartupError(Exception):
    """The operator must not run like this; the message says why and what to do."""


class ServingCluster(Cluster, Protocol):
    """A cluster that can be asked what it serves."""

    async def served_kinds(self, api_version: str) -> frozenset[str]:
        """The kinds of a group and version that the API server serves."""


async def check_crds(cluster: ServingCluster) -> None:
    """See that every kind is served, with every field that this operator knows.

    Raises:
        StartupError: a CRD is missing, or lacks fields because it is older than the operator.
    """
    problems: list[str] = []
    for kind in KINDS:
        try:
            live = await cluster.get(Ref("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", crd.name_of(kind)))
        except Forbidden:
            log.warning("CRDs are not checked: the operator may not read them")
            break
        if problem := _problem(crd.name_of(kind), live, crd.definition(kind)):
            problems.append(problem)
    if problems:
        raise StartupError(f"{'; '.join(problems)}: {ADVICE}")
    await _until_served(cluster)


def _problem(name: str, live: Object | None, wanted: Object) -> str:
    if live is None:
        return f"{name} is not installed"
    missing = crd.missing_fields(live, wanted)
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        return f"{name} is older than this operator and lacks {', '.join(missing[:SHOWN])}{more}"
    if not crd.is_of_this_version(live, wanted):
        log.warning("%s has every field, but is of another version: its rules and defaults may differ", name)
    return ""


async def apply_profiles(cluster: Cluster, folder: Path) -> None:
    """Apply the folder's AcceleratorProfiles; what is wrong with one is logged and does not hold up the others."""
    for path, profile in _documents(folder):
        try:
            await cluster.apply_defaults(profile)
        except (Forbidden, Invalid) as error:
            log.error("%s: the profile was refused: %s", path, error)


async def may_read_nodes(cluster: Cluster) -> bool:
    """Whether banks can be made by class of nodes; else one bank does for all, and replicas alone find out."""
    try:
        await cluster.list("v1", "Node")
    except Forbidden:
        log.warning("nodes may not be read: identityLabels of AcceleratorProfiles are of no effect")
        return False
    return True


async def _until_served(cluster: ServingCluster) -> None:
    """A CRD that was just made is served a moment later, and the watch looks only once."""
    wanted = {kind.kind for kind in KINDS}
    deadline = asyncio.get_running_loop().time() + SERVED_SECONDS
    while missing := wanted - await cluster.served_kinds(naming.API_VERSION):
        if asyncio.get_running_loop().time() > deadline:
            raise StartupError(f"{naming.API_VERSION} does not serve {', '.join(sorted(missing))}: {ADVICE}")
        await asyncio.sleep(POLL_SECONDS)


def _documents(folder: Path) -> Iterator[tuple[Path, Object]]:
    for path in sorted(folder.glob("*.yaml")):
        try:
            documents = list(yaml.safe_load_all(path.read_text()))
        except (OSError, yaml.YAMLError) as error:
            log.error("%s cannot be read: %s", path, error)
            continue
        for document in filter(None, documents):
            if isinstance(document, dict) and document.get("kind") == naming.PROFILE:
                yield path, document
            else:
                log.error("%s has something that is not an %s", path, naming.PROFILE)
