"""The CPU device: what it may use, what it depends on, and a UNet in the signature of the compiled graph."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytestmark = pytest.mark.torch


def groups(folder: Path, version: int, own: str, **files: str) -> tuple[Path, Path]:
    """A cgroup file system; a file's name has `__` for each slash."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("cpu_max", "cpu.max").replace("cfs", "cpu.cfs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    (folder / "own").write_text(f"0::{own}\n" if version == 2 else f"5:memory:{own}\n4:cpu,cpuacct:{own}\n")
    return folder, folder / "own"


@pytest.fixture(autouse=True)
def _many_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)))


@pytest.mark.parametrize(
    ("version", "own", "files", "threads"),
    [
        (2, "/", {}, 16),
        (2, "/", {"cpu_max": "max 100000"}, 16),
        (2, "/", {"cpu_max": "400000 100000"}, 4),
        (2, "/", {"cpu_max": "150000 100000"}, 1),
        (2, "/", {"cpu_max": "50000 100000"}, 1),
        (2, "/", {"cpu_max": "3200000 100000"}, 16),
        (2, "/pod/box", {"pod__cpu_max": "200000 100000", "pod__box__cpu_max": "max 100000"}, 2),
        (2, "/pod/box", {"pod__cpu_max": "600000 100000", "pod__box__cpu_max": "300000 100000"}, 3),
        (2, "/not/seen/here", {"cpu_max": "200000 100000"}, 2),
        (2, "/", {"cpu_max": "nonsense"}, 16),
        (1, "/", {"cpu,cpuacct__cfs_quota_us": "200000", "cpu,cpuacct__cfs_period_us": "100000"}, 2),
        (1, "/", {"cpu,cpuacct__cfs_quota_us": "-1", "cpu,cpuacct__cfs_period_us": "100000"}, 16),
        (1, "/pod", {"cpu__pod__cfs_quota_us": "300000", "cpu__pod__cfs_period_us": "100000"}, 3),
    ],
)
def test_threads_are_the_whole_cpus_of_the_containers_limit(
    tmp_path: Path, version: int, own: str, files: dict[str, str], threads: int
) -> None:
    from sdxl_runtime.device.cpu import thread_limit

    assert thread_limit(*groups(tmp_path, version, own, **files)) == threads


def test_a_package_that_does_not_fit_on_the_volume_is_the_systems_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's writer would only say that writing failed."""
    import torch

    from sdxl_runtime.device import cpu

    def package(exported: object, package_path: str, **options: object) -> str:
        Path(package_path).write_bytes(b"package")
        return package_path

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", package)
    graph = torch.export.export(torch.nn.Identity(), (torch.zeros(1),))
    cpu._package(graph, tmp_path / "unet.pt2")
    assert (tmp_path / "unet.pt2").read_bytes() == b"package"
    (tmp_path / "full.pt2").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        cpu._package(graph, tmp_path / "full.pt2")


def test_threads_are_at_most_the_processors_it_may_run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sdxl_runtime.device.cpu import thread_limit

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5})
    assert thread_limit(*groups(tmp_path, 2, "/", cpu_max="800000 100000")) == 2
    assert thread_limit(tmp_path / "none", tmp_path / "none") == 2


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_opening_the_device_sets_the_threads_and_lets_its_own_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from sdxl_runtime.device import cpu
    from sdxl_runtime.settings import Settings

    def owner() -> tuple[int, int]:
        cpu.open_device(Settings())
        return torch.get_num_threads(), niceness()

    monkeypatch.setattr(cpu, "thread_limit", lambda: 1)
    before = torch.get_num_threads(), niceness()
    try:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(owner).result() == (1, max(before[1], 5))
        assert niceness() == before[1]
    finally:
        torch.set_num_threads(before[0])


def test_auto_is_fp32_and_fp16_is_refused_with_what_is_allowed() -> None:
    import torch

    from sdxl_runtime.device.cpu import CPUDevice
    from sdxl_runtime.settings import Precision, SettingsError

    device = CPUDevice()
    assert device.dtype(Precision.AUTO) is torch.float32
    assert device.dtype(Precision.FP32) is torch.float32
    assert device.dtype(Precision.BF16) is torch.bfloat16
    with pytest.raises(SettingsError, match="'FP16'; a CPU runs Auto, FP32 or BF16"):
        device.dtype(Precision.FP16)


def test_the_facts_name_chip_instruction_set_compiler_and_exact_versions() -> None:
    import torch

    from sdxl_runtime.device.cpu import CPUDevice

    facts = CPUDevice().facts()
    assert facts["torch"] == torch.__version__
    assert facts["instructionSet"] == torch.backends.cpu.get_cpu_capability()
    assert facts["compiler"].startswith("g++ ")
    assert all(isinstance(value, str) and value for value in facts.values())
    assert CPUDevice().facts() == facts


def test_without_a_compiler_the_facts_say_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from sdxl_runtime.device.cpu import CPUDevice

    monkeypatch.setenv("CXX", "no-such-compiler")
    assert CPUDevice().facts()["compiler"] == "none"
