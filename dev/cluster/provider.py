"""What a provider of clusters can do, and which one is used."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Protocol

from dev.cluster.existing import ExistingCluster
from dev.cluster.kind import KindCluster
from dev.cluster.local.cluster import LocalCluster
from dev.engine import docker_answers
from dev.shell import Failed

USE_KUBECONFIG = "SDXL_USE_KUBECONFIG"


class Provider(Protocol):
    """A cluster that can be made, looked at and taken away; each verb does nothing where nothing is to do."""

    name: str

    @property
    def kubeconfig(self) -> Path: ...

    def up(self, nodes: int | None = None) -> None: ...

    def down(self) -> None: ...

    def load(self, references: list[str]) -> None: ...

    def status(self) -> bool: ...


def choose(provider: str | None = None, use_kubeconfig: str | None = None) -> Provider:
    """The cluster asked for; else kind where a Docker engine answers, else local."""
    chosen = use_kubeconfig or os.environ.get(USE_KUBECONFIG)
    if chosen and provider:
        raise Failed(f"--provider {provider} and an existing kubeconfig exclude each other")
    if chosen:
        return ExistingCluster(Path(chosen))
    if provider == "kind" or (provider is None and docker_answers()):
        return KindCluster()
    if provider in (None, "local"):
        if sys.platform != "linux":
            raise Failed("no Docker engine answers, and the local cluster needs Linux: start Docker")
        return LocalCluster()
    raise Failed(f"there is no provider {provider!r}; kind and local are the two")
