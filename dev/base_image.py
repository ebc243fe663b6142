"""The Debian base for machines without Docker: bookworm with Python, made by mmdebstrap, and imported into buildah."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dev.cache import build_once, cache_root
from dev.engine import buildah, image_exists
from dev.shell import run, step, stream

SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-venv")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def reference() -> str:
    """The image's name; it changes with what goes in."""
    key = hashlib.sha256(" ".join([SUITE, *PACKAGES]).encode()).hexdigest()[:8]
    return f"localhost/sdxl-base:{SUITE}-{key}"


def ensure() -> str:
    """Make the base image unless it is there."""
    name = reference()
    if image_exists(name):
        return name
    tarball = build_once(cache_root() / "base" / f"{name.rpartition(':')[2]}.tar", _bootstrap)
    with step(f"importing {name}"):
        container = run(buildah("from", "scratch")).strip()
        try:
            run(buildah("add", "--quiet", container, tarball, "/"))
            run(buildah("config", "--env", PATH, "--cmd", "python3", container))
            run(buildah("commit", "--quiet", container, name))
        finally:
            run(buildah("rm", container), check=False)
    return name


def _bootstrap(target: Path) -> None:
    log = cache_root() / "logs" / "base-image.log"
    with step(f"bootstrapping Debian {SUITE}"):
        options = ["--variant=minbase", f"--include={','.join(PACKAGES)}", '--aptopt=Acquire::Languages "none"']
        stream(["mmdebstrap", *options, SUITE, target], log=log)
