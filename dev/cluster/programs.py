"""The programs of a local cluster, built from Go modules at pinned versions and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dev.cache import build_once, cache_root
from dev.shell import Failed, read, run, step, stream

GO_FLOOR = (1, 25)
KUBERNETES = "1.35.4"  # the last minor that supports Debian's containerd 1.6 and cgroup v1
SOURCES = Path(__file__).parent / "go"


@dataclass(frozen=True, kw_only=True)
class Program:
    """A binary made from one Go module: a command package of it, or a main.go of ours that imports it."""

    name: str
    module: str = ""
    version: str = ""
    package: str = "."  # "." is our own main.go in go/<name>
    ldflags: str = "-s -w"
    raised: tuple[str, ...] = ()  # dependencies taken newer than the module asks, to be compiled once for several

    @property
    def source(self) -> str:
        return (SOURCES / self.name / "main.go").read_text() if self.package == "." else ""

    @property
    def target(self) -> Path:
        """Where the cache keeps it; the name changes with whatever goes in."""
        inputs = "\n".join([self.module, self.version, self.package, self.ldflags, self.source, *self.raised])
        key = hashlib.sha256(inputs.encode()).hexdigest()[:8]
        return cache_root() / "programs" / f"{self.name}-{self.version or 'own'}-{key}"


def client_libraries(version: str, *further: str) -> tuple[str, ...]:
    """Kubernetes' client modules at one version."""
    return tuple(f"k8s.io/{name} {version}" for name in ("api", "apimachinery", "client-go", *further))


_component_version = "-X k8s.io/component-base/version."
HYPERKUBE = Program(
    name="hyperkube",
    module="k8s.io/kubernetes",
    version=f"v{KUBERNETES}",
    ldflags=f"-s -w {_component_version}gitVersion=v{KUBERNETES} {_component_version}gitMajor=1"
    f" {_component_version}gitMinor={KUBERNETES.split('.')[1]}",
)
COREDNS = Program(name="coredns", module="github.com/coredns/coredns", version="v1.15.0")
REGISTRY = Program(name="registry", module="github.com/distribution/distribution/v3", version="v3.1.2")
NODE_TOOLS = Program(name="node-tools")
SIMULATED_CARDS = Program(
    name="simulated-cards", module="k8s.io/kubelet", version=f"v0.{KUBERNETES.removeprefix('1.')}"
)
PROVISIONER = Program(
    name="local-path-provisioner",
    module="github.com/rancher/local-path-provisioner",
    version="v0.0.30",
    package="github.com/rancher/local-path-provisioner",
    raised=client_libraries(f"v0.{KUBERNETES.removeprefix('1.')}", "component-helpers"),
)
HELM = Program(
    name="helm",
    module="helm.sh/helm/v3",
    version="v3.22.0",
    package="helm.sh/helm/v3/cmd/helm",
    raised=client_libraries(
        "v0.37.1", "apiextensions-apiserver", "apiserver", "cli-runtime", "component-base", "kubectl"
    ),
)
KIND = Program(name="kind", module="sigs.k8s.io/kind", version="v0.31.0", package="sigs.k8s.io/kind")
LOCAL_PROGRAMS = (HYPERKUBE, NODE_TOOLS, REGISTRY, PROVISIONER, HELM, COREDNS)


def ensure(programs: Iterable[Program]) -> None:
    """Build what the cache lacks, two at a time: Go fills the cores only while it compiles."""
    missing = [program for program in programs if not program.target.exists()]
    if not missing:
        return
    require_go()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(_build, missing))


def require_go() -> None:
    """Say what is needed before a build fails for it."""
    advice = f"Go {GO_FLOOR[0]}.{GO_FLOOR[1]} or newer is needed to build the cluster's programs; see https://go.dev/dl"
    if shutil.which("go") is None:
        raise Failed(advice)
    found = go_version(run(["go", "version"]))
    toolchain = run(["go", "env", "GOTOOLCHAIN"]).strip()
    fetches_newer = found >= (1, 21) and toolchain != "local"
    if found < GO_FLOOR and not fetches_newer:
        raise Failed(f"Go {found[0]}.{found[1]} is installed. {advice}")


def go_version(text: str) -> tuple[int, int]:
    """The version in what `go version` prints."""
    match = re.search(r"go(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _build(program: Program) -> None:
    log = cache_root() / "logs" / f"build-{program.name}.log"

    def build(unfinished: Path) -> None:
        log.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix="sdxl-go-") as folder:
            _write_module(program, Path(folder))
            flags = ["-mod=mod", "-trimpath", "-ldflags", program.ldflags]
            argv = ["go", "build", *flags, "-o", str(unfinished), program.package]
            stream(argv, log=log, folder=Path(folder), env={**os.environ, "CGO_ENABLED": "0"})

    with step(f"building {program.name} {program.version}".strip()):
        build_once(program.target, build)


def _write_module(program: Program, folder: Path) -> None:
    """A small module of its own: `go install module@version` refuses the modules whose go.mod has replace lines."""
    if program.source:
        (folder / "main.go").write_text(program.source)
    go_mod = _go_mod_of(program) if program.module else ""
    lines = [f"module build/{program.name}", f"go {_go_line(go_mod)}"]
    if program.module:
        lines += [f"require {each}" for each in (f"{program.module} {program.version}", *program.raised)]
        lines += staging_replaces(go_mod, program.version)
    (folder / "go.mod").write_text("\n".join(lines) + "\n")


def _go_mod_of(program: Program) -> str:
    info = run(["go", "mod", "download", "-json", f"{program.module}@{program.version}"])
    match = re.search(r'"GoMod": "([^"]+)"', info)
    return read(Path(match[1])) if match else ""


def _go_line(go_mod: str) -> str:
    match = re.search(r"^go (\S+)", go_mod, re.MULTILINE)
    return match[1] if match else f"{GO_FLOOR[0]}.{GO_FLOOR[1]}.0"


def staging_replaces(go_mod: str, version: str) -> list[str]:
    """Kubernetes requires its staging modules at v0.0.0 through relative replaces, which do not reach a dependant."""
    staged = re.findall(r"^\s+(k8s\.io/\S+) v0\.0\.0(?:\s|$)", go_mod, re.MULTILINE)
    return [f"replace {module} => {module} v0.{version.removeprefix('v1.')}" for module in sorted(set(staged))]
