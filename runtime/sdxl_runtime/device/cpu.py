"""Plain CPUs: eager as diffusers runs it, ahead of time with AOTInductor and g++."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.device import Graph
from sdxl_runtime.device.aot_package import Package
from sdxl_runtime.settings import Backend, Precision, Settings, SettingsError

PACKAGE = "unet.pt2"

COMPILE_OPTIONS: Mapping[str, Any] = {
    "aot_inductor.package_constants_in_so": False,
    "aot_inductor.compile_wrapper_opt_level": "O0",
    "cpp.dynamic_threads": True,
    "cpp.vec_isa_ok": True,
}
"""Inductor's configuration. Weights stay outside: one set serves all buckets. The wrapper only calls kernels, and
optimising it costs more time than all kernels. Threads are counted when it runs, as replicas may have other limits.
Instruction sets are taken from the processor's flags; trying each one costs ten seconds of g++."""

WEIGHTS_LAYOUT = torch.channels_last
"""A compiled convolution is a third faster on weights laid out so; without it each one reorders them at every step."""

_FLAGS = re.compile(r"sse|ssse|avx|amx|fma|f16c|bmi|abm|popcnt|gfni|vaes|vpclmul|asimd|sve|i8mm|bf16|neon")


class CPUDevice:
    """The `Device` of this machine's processor."""

    backend = Backend.CPU
    torch_device = torch.device("cpu")

    def dtype(self, precision: Precision) -> torch.dtype:
        """FP32 unless BF16 is asked for.

        Raises:
            SettingsError: FP16, which CPUs lack kernels for.
        """
        if precision is Precision.FP16:
            raise SettingsError("SDXL_PRECISION is 'FP16'; a CPU runs Auto, FP32 or BF16")
        return torch.bfloat16 if precision is Precision.BF16 else torch.float32

    def facts(self) -> Mapping[str, str]:
        """Chip, instruction set, versions, compile options."""
        information = _cpu_information()
        return {
            "chip": information.get("model name", platform.machine()),
            "architecture": platform.machine(),
            "instructionSet": torch.backends.cpu.get_cpu_capability(),
            "instructionFlags": " ".join(
                sorted(flag for flag in information.get("flags", "").split() if _FLAGS.match(flag))
            ),
            "torch": torch.__version__,
            "diffusers": version("diffusers"),
            "compiler": _compiler(),
            "compileOptions": json.dumps(
                {**COMPILE_OPTIONS, "weights": str(WEIGHTS_LAYOUT)}, sort_keys=True, separators=(",", ":")
            ),
        }

    def synchronise(self) -> None:
        """Nothing to do: a CPU's calls return when they are done."""

    def compilations(self) -> int:
        """Graphs that dynamo has made; a package made ahead of time makes none."""
        counters = sys.modules.get("torch._dynamo.utils")
        return 0 if counters is None else int(counters.counters["stats"]["unique_graphs"])

    def eager(self, unet: Any) -> Graph:
        """The UNet as diffusers runs it, in the signature of `Graph`."""
        return torch.inference_mode()(_Signature(unet))

    def compile(
        self,
        unet: Any,
        bucket: Bucket,
        inputs: tuple[torch.Tensor, ...],
        folder: Path,
        progress: Callable[[str], None],
    ) -> None:
        """Export the UNet with these inputs' shapes and compile it into `unet.pt2`; lays its weights out anew.

        Raises:
            OSError: it does not fit into `folder`.
        """
        _writable_cache()
        unet.to(memory_format=WEIGHTS_LAYOUT)
        progress("Exporting")
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch's compiler says about its own use of torch
            exported = torch.export.export(_Signature(unet), inputs)
            progress("Compiling")
            _package(exported, folder / PACKAGE)

    def load(self, unet: Any, bucket: Bucket, folder: Path) -> Graph:
        """Bind the package to the UNet's own tensors, so that a change in place reaches every bucket.

        The weights are laid out anew, once, as the package was compiled for: it takes strides on trust. Only vectors
        of at most 8 values (the bias of `conv_out`) are constants of the package: inductor writes them into the code.

        Raises:
            RuntimeError: the package is of another UNet.
        """
        unet.to(memory_format=WEIGHTS_LAYOUT)
        package = Package(folder / PACKAGE)
        weights, names = _Signature(unet).state_dict(), package.constants()
        unknown = [name for name in names if name not in weights]
        if unknown:
            raise RuntimeError(f"{bucket.key} was compiled for another UNet: it has no {', '.join(unknown[:3])}")
        package.bind({inner: weights[name] for name, inner in names.items()})
        return torch.inference_mode()(package)


def _package(exported: torch.export.ExportedProgram, target: Path) -> None:
    """Compile into a package at `target`, by way of a scratch folder: where a volume is full, torch's own writer only
    says that writing failed, and not why."""
    with tempfile.TemporaryDirectory(prefix="sdxl-package-") as scratch:
        made = torch._inductor.aoti_compile_and_package(
            exported, package_path=str(Path(scratch) / PACKAGE), inductor_configs=dict(COMPILE_OPTIONS)
        )
        shutil.copyfile(made, target)


class _Signature(torch.nn.Module):
    """The diffusers UNet behind the signature of `Graph`."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        text_embeds: torch.Tensor,
        time_ids: torch.Tensor,
    ) -> torch.Tensor:
        added = {"text_embeds": text_embeds, "time_ids": time_ids}
        output: tuple[torch.Tensor, ...] = self.unet(
            sample, timestep, encoder_hidden_states, added_cond_kwargs=added, return_dict=False
        )
        return output[0]


def open_device(_: Settings) -> CPUDevice:
    """The processor, with as many threads as the container may use; the calling thread gives way to others."""
    _give_way()
    torch.set_num_threads(thread_limit())
    return CPUDevice()


_NICENESS = 5
"""A third of the weight of the threads that answer HTTP: they need little, and at once."""


def _give_way() -> None:
    """Lower the priority of this thread, and of those it starts: OpenMP's team is one for each thread that calls torch.

    They take every processor there is for seconds on end, and a rejection or a probe would wait for a slice of theirs.
    """
    thread = threading.get_native_id()
    if os.getpriority(os.PRIO_PROCESS, thread) < _NICENESS:  # to raise it takes rights
        os.setpriority(os.PRIO_PROCESS, thread, _NICENESS)


def thread_limit(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Whole CPUs this process may use: those it may run on, bounded by the cgroup limit (v1 or v2), at least 1.

    A fraction is dropped: a thread that is throttled half of the time keeps all others waiting at every kernel's end.
    """
    limits = [float(len(os.sched_getaffinity(0))), *_group_limits(groups, own)]
    return max(1, int(min(limits)))


def _group_limits(groups: Path, own: Path) -> list[float]:
    limits = []
    lines = own.read_text().splitlines() if own.is_file() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "cpu" in controllers.split(","):
            roots = [groups] if controllers == "" else [groups / controllers, groups / "cpu"]
            for root in roots:
                inner = root / path.lstrip("/")
                # a container often sees its own group as the root, so the path named here may not exist
                limits += [_quota(folder) for folder in {inner, *inner.parents} if folder.is_relative_to(root)]
    return [limit for limit in limits if limit > 0]


def _quota(folder: Path) -> float:
    """CPUs by `cpu.max` (v2) or `cpu.cfs_quota_us` and `cpu.cfs_period_us` (v1); 0 where there is no limit."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return 0 if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return 0


def _cpu_information() -> dict[str, str]:
    """The first processor of /proc/cpuinfo."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _compiler() -> str:
    name = os.environ.get("CXX", "g++")
    try:
        found = subprocess.run([name, "-dumpfullversion"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return "none"
    return f"{name} {found.stdout.strip()}"


def _writable_cache() -> None:
    # the default name asks for the user's name, which a container with a bare user number has not
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", f"{tempfile.gettempdir()}/inductor-{os.getuid()}")
