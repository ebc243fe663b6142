"""The programs of the operating system that a local cluster uses: checked, and installed where apt is."""

from __future__ import annotations

import os
import platform
import shutil
import sys

from dev.cache import locked
from dev.cluster.local.layout import NODE_RANGE, POD_RANGE, SERVICE_RANGE
from dev.shell import Failed, run, step

# program → the Debian or Ubuntu package that brings it
CLUSTER = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "openssl": "openssl",
    "nsenter": "util-linux",
    "sysctl": "procps",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
OWN_RANGES = ("localhost", "127.0.0.1", NODE_RANGE, POD_RANGE, SERVICE_RANGE)
IMAGES = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}


def require_machine() -> None:
    """Linux and root: namespaces, mounts and cgroups are made."""
    prepare_environment()
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        raise Failed("the local cluster needs Linux on x86_64 or arm64. Elsewhere start Docker")
    if os.geteuid() != 0:
        raise Failed("the local cluster makes namespaces and mounts: run this as root, or start Docker")


def prepare_environment() -> None:
    """What every program we start needs: the system's own folders in its path, and no proxy before the cluster."""
    paths = os.environ.get("PATH", "").split(":")
    os.environ["PATH"] = ":".join([*paths, *(extra for extra in ("/usr/sbin", "/sbin") if extra not in paths)])
    for name in ("NO_PROXY", "no_proxy"):
        exempt = [part for part in os.environ.get(name, "").split(",") if part]
        os.environ[name] = ",".join(dict.fromkeys([*exempt, *OWN_RANGES]))


def ensure(wanted: dict[str, str]) -> None:
    """Install the packages of the programs that are missing."""
    if not missing(wanted):
        return
    with locked("packages"):  # the images may be built while the cluster is made
        if lacking := missing(wanted):
            _install(wanted, lacking)


def _install(wanted: dict[str, str], lacking: list[str]) -> None:
    packages = sorted({wanted[program] for program in lacking})
    if shutil.which("apt-get") is None:
        raise Failed(f"missing: {', '.join(lacking)}. Install what brings them (on Debian: {' '.join(packages)})")
    with step(f"installing {' '.join(packages)}"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "--quiet"], env=quiet, check=False)
        # no service of these packages may start: the cluster runs its own containerd
        hold = ["-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300", "--no-install-recommends", "--yes"]
        run(["apt-get", "install", *hold, *packages], env={**quiet, "RUNLEVEL": "1"})
    if still := missing(wanted):
        raise Failed(f"apt installed {' '.join(packages)}, yet these programs are missing: {', '.join(still)}")


def missing(wanted: dict[str, str]) -> list[str]:
    return [program for program in wanted if shutil.which(program) is None]
