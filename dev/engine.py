"""What builds and keeps images here: Docker where its engine answers, else buildah with a store of its own."""

from __future__ import annotations

import functools
from pathlib import Path

from dev.cache import cache_root
from dev.shell import run, succeeds


@functools.cache
def docker_answers() -> bool:
    """Whether a Docker engine is there, not only its command."""
    return succeeds(["docker", "info"], timeout=10)


def store() -> Path:
    return cache_root() / "containers"


def buildah(*words: str | Path) -> list[str]:
    """A buildah command line that uses our store and never the one of another tool."""
    places = ["--root", str(store()), "--runroot", "/run/sdxl-operator-images", "--storage-driver", "overlay"]
    return ["buildah", *places, *(str(word) for word in words)]


def keep(archive: Path) -> None:
    """Take an image into the store, under the name it has in an archive of `docker save`."""
    run(["docker", "load", "--quiet", "--input", archive] if docker_answers() else _pull_archive(archive))


def _pull_archive(archive: Path) -> list[str]:
    return buildah("pull", "--quiet", f"docker-archive:{archive}")


def image_exists(reference: str) -> bool:
    if docker_answers():
        return succeeds(["docker", "image", "inspect", reference])
    return succeeds(buildah("inspect", "--type", "image", reference))
