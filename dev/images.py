"""`python -m dev.images [operator] [runtime] [--load]`: the product's images, built by Docker or by buildah.

An image is named by the content that goes in, so a changed one has another name and pods roll, and an unchanged one is
not built again. The second name, ending in `dev` or `dev-cpu`, always means the latest.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev import base_image
from dev.cache import cache_root, locked
from dev.cluster.local import packages
from dev.cluster.provider import choose
from dev.engine import buildah, docker_answers, forget_old, image_exists
from dev.shell import Failed, run, say, step, stream, succeeds

ROOT = Path(__file__).parent.parent
KEPT = 4
"""So many builds of an image are kept: whoever goes back and forth between two changes builds neither again."""
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image of the product: its Dockerfile, and all that the Dockerfile copies."""

    name: str
    dockerfile: str
    copies: tuple[str, ...]
    flavour: str = "dev"
    torch: bool = False

    def reference(self, root: Path = ROOT) -> str:
        """The name by content."""
        return f"localhost/{self.name}:{self.flavour}-{self.digest(root)}"

    @property
    def latest(self) -> str:
        return f"localhost/{self.name}:{self.flavour}"

    def digest(self, root: Path = ROOT) -> str:
        """12 hex digits of the inputs' paths and contents."""
        total = hashlib.sha256()
        for path in self.inputs(root):
            total.update(f"{path.relative_to(root)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return total.hexdigest()[:12]

    def inputs(self, root: Path = ROOT) -> list[Path]:
        found = [root / self.dockerfile]
        for copied in self.copies:
            top = root / copied
            found += [top] if top.is_file() else [path for path in top.rglob("*") if path.is_file()]
        return sorted(path for path in found if "__pycache__" not in path.parts)


OPERATOR = Image(
    name="sdxl-operator", dockerfile="operator/Dockerfile", copies=("locks/operator.txt", "operator/sdxl_operator")
)
RUNTIME = Image(
    name="sdxl-runtime",
    dockerfile="runtime/Dockerfile.cpu",
    copies=("locks/runtime.txt", "runtime/sdxl_runtime"),
    flavour="dev-cpu",
    torch=True,
)
IMAGES = {"operator": OPERATOR, "runtime": RUNTIME}


def build(names: Iterable[str] = ("operator", "runtime"), root: Path = ROOT) -> dict[str, str]:
    """Build what is not built yet. Gives each name's reference, to be put into manifests.

    `root` is a checkout; of another one than this, nothing becomes the latest.
    """
    return {name: _build(IMAGES[name], root) for name in names}


def build_and_load(names: Iterable[str] = ("operator", "runtime"), root: Path = ROOT) -> dict[str, str]:
    """Build, and bring the images to every node of the chosen cluster."""
    built = build(names, root)
    choose().load([*built.values(), *(IMAGES[name].latest for name in built if root == ROOT)])
    return built


def _build(image: Image, root: Path) -> str:
    reference = image.reference(root)
    with locked(f"image-{image.name}"):
        if not image_exists(reference):
            log = cache_root() / "logs" / f"image-{image.name}.log"
            log.unlink(missing_ok=True)
            with step(f"building {reference}"):
                builder = _build_with_docker if docker_answers() else _build_with_buildah
                builder(image, reference, log, root)
            forget_old(f"{image.latest}-", KEPT)
        if root == ROOT:
            tag = ["docker", "tag"] if docker_answers() else buildah("tag")
            run([*tag, reference, image.latest])
    return reference


def _build_with_docker(image: Image, reference: str, log: Path, root: Path) -> None:
    argv = ["docker", "build", "--file", image.dockerfile, "--tag", reference, *_build_args(image), "."]
    stream(argv, log=log, folder=root, env={**os.environ, "DOCKER_BUILDKIT": "1"})


def _build_with_buildah(image: Image, reference: str, log: Path, root: Path) -> None:
    packages.require_machine()
    packages.ensure(packages.IMAGES)
    base = base_image.ensure()
    how = ["--isolation", "chroot", "--network", "host", "--pull-never", "--layers", "--format", "oci"]
    argv = ["--file", image.dockerfile, "--tag", reference, "--build-arg", f"BASE_IMAGE={base}", *_build_args(image)]
    scratch = _scratch_with_shared_cache()
    command = buildah("build", *how, *argv, *_machine_mounts(), ".")
    stream(command, log=log, folder=root, env={**os.environ, "TMPDIR": str(scratch)})


def _build_args(image: Image) -> list[str]:
    if not image.torch:
        return []
    if torch_index_answers():
        return ["--build-arg", f"TORCH_INDEX={TORCH_CPU_INDEX}"]
    say("  PyTorch's CPU wheels cannot be reached: the default wheel, which brings CUDA, is used")
    return []


def torch_index_answers(seconds: float = 4.0) -> bool:
    """One short question, so that a machine without the way loses no time."""
    try:
        with urllib.request.urlopen(f"{TORCH_CPU_INDEX}/torch/", timeout=seconds) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _machine_mounts() -> list[str]:
    """What this machine needs to reach its package sources, lent to the build and not part of the image."""
    authorities = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    lent = {Path("/etc/pip.conf"): "/etc/pip.conf", Path("/etc/apt"): "/etc/apt"}
    if authorities:
        lent[Path(authorities)] = "/etc/ssl/certs/ca-certificates.crt"
    return [word for path, seen in lent.items() if path.exists() for word in ("--volume", f"{path}:{seen}:ro")]


def _scratch_with_shared_cache() -> Path:
    """A folder for buildah's temporary files and cache mounts, in which uv's cache is the one of this machine."""
    scratch = cache_root() / "scratch"
    link = scratch / "buildah-cache" / "sdxl-uv"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists() and succeeds(["uv", "--version"]):
        shared = Path(run(["uv", "cache", "dir"]).strip())
        shared.mkdir(parents=True, exist_ok=True)
        link.symlink_to(shared)
    return scratch


def main(words: Sequence[str] | None = None) -> int:
    top = argparse.ArgumentParser(prog="python -m dev.images", description="Build the product's images.")
    top.add_argument("images", nargs="*", metavar="IMAGE", help="operator, runtime; default: both")
    top.add_argument("--load", action="store_true", help="also bring them to the cluster's nodes")
    options = top.parse_args(words)
    names = options.images or list(IMAGES)
    try:
        if unknown := [name for name in names if name not in IMAGES]:
            raise Failed(f"there is no image {unknown[0]!r}; the images are {', '.join(IMAGES)}")
        built = build_and_load(names) if options.load else build(names)
    except Failed as failure:
        say(f"error: {failure}")
        return 1
    print("\n".join(built.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
