"""What builds and keeps images here: Docker where its engine answers, else buildah with a store of its own."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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


def forget_old(tags: str, keep: int) -> None:
    """Remove from our own store all but the newest `keep` images with such a name; Docker's store is its user's."""
    if docker_answers():
        return
    found = json.loads(run(buildah("images", "--json", "--filter", f"reference={tags}*")) or "[]")
    if names := older(found, tags, keep):
        run(buildah("rmi", *names), check=False)  # one that a build uses right now stays until the next time


def older(images: Sequence[Mapping[str, Any]] | None, tags: str, keep: int) -> list[str]:
    """Names that start with `tags`, of all images but the newest `keep` that have one; as buildah lists them."""
    named = [
        (image["createdatraw"], [name for name in image.get("names") or [] if name.startswith(tags)])
        for image in images or []
    ]
    newest_first = sorted((item for item in named if item[1]), reverse=True)
    return [name for _, names in newest_first[keep:] for name in names]
