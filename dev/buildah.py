"""The image store of this machine where no Docker is: buildah with a store of its own in the cache."""

from __future__ import annotations

from pathlib import Path

from dev.cache import cache_root


def store() -> Path:
    return cache_root() / "containers"


def buildah(*words: str | Path) -> list[str]:
    """A buildah command line that uses our store and never the one of another tool."""
    places = ["--root", str(store()), "--runroot", "/run/sdxl-operator-images", "--storage-driver", "overlay"]
    return ["buildah", *places, *(str(word) for word in words)]
