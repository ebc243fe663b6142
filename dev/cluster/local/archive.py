"""Images of one static program, written by hand: a node needs that of our node tools before it can pull anything."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

from dev.cluster.local.layout import TOOLS_IMAGE, Layout, Node
from dev.cluster.programs import NODE_TOOLS
from dev.shell import run

LINKS = ("pause", "volume")


def tools_tag() -> str:
    """Changes with the program."""
    return hashlib.sha256(NODE_TOOLS.target.read_bytes()).hexdigest()[:12]


def ensure_loaded(node: Node, layout: Layout, tag: str) -> None:
    """Import the image unless the node has it."""
    if f"{TOOLS_IMAGE}:{tag}" in run([*node.ctr, "images", "list", "--quiet"]).split():
        return
    file = layout.config / "node-tools.tar"
    file.write_bytes(archive(NODE_TOOLS.target, f"{TOOLS_IMAGE}:{tag}", "node-tools", "pause", LINKS))
    run([*node.ctr, "images", "import", file])


def archive(program: Path, reference: str, name: str, command: str, links: Iterable[str] = ()) -> bytes:
    """An image with one layer and one program, called by its name or a link's, in the format of `docker save`."""
    layer = _tar({name: (program.read_bytes(), 0o755)}, links=dict.fromkeys(links, name))
    digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64" if _is_amd64(program) else "arm64",
            "os": "linux",
            "config": {"Entrypoint": [f"/{name}"], "Cmd": [command], "Env": ["PATH=/"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created_by": "dev/cluster"}],
        }
    ).encode()
    named = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": named, "RepoTags": [reference], "Layers": [f"{digest}.tar"]}]).encode()
    return _tar({named: (config, 0o644), f"{digest}.tar": (layer, 0o644), "manifest.json": (manifest, 0o644)})


def _is_amd64(program: Path) -> bool:
    """From the ELF header: the machine field."""
    return program.read_bytes()[18:20] == b"\x3e\x00"


def _tar(files: dict[str, tuple[bytes, int]], links: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, (content, mode) in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            tar.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return out.getvalue()
