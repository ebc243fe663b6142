"""Which processes the tool takes for its own. A pid alone proves nothing: it may have been given to somebody else."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster.local import cgroups, processes
from dev.cluster.local.layout import Layout, Node
from dev.cluster.local.processes import Daemon


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "run")
    made.pids.mkdir(parents=True)
    made.logs.mkdir()
    return made


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield child
    child.kill()
    child.wait()


def proc_with(folder: Path, processes_by_pid: dict[int, list[str]]) -> Path:
    """A stand-in for /proc that holds command lines."""
    for pid, argv in processes_by_pid.items():
        (folder / str(pid)).mkdir(parents=True)
        (folder / str(pid) / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in argv))
    (folder / "sys").mkdir(parents=True, exist_ok=True)
    return folder


def test_a_remembered_pid_counts_while_its_command_line_is_the_daemon_s(layout: Layout, tmp_path: Path) -> None:
    daemon = Daemon("etcd", (f"{layout.bin}/etcd", "--flag"))
    daemon.pid_file(layout).write_text("7\n")
    proc = proc_with(tmp_path / "proc", {7: [f"{layout.bin}/etcd", "--flag"]})
    assert processes.pid_of(daemon, layout, proc) == 7


def test_a_pid_that_was_given_to_another_program_is_not_trusted(layout: Layout, tmp_path: Path) -> None:
    daemon = Daemon("etcd", (f"{layout.bin}/etcd", "--flag"))
    daemon.pid_file(layout).write_text("7\n")
    proc = proc_with(tmp_path / "proc", {7: ["/usr/bin/precious", "--flag"]})
    assert processes.pid_of(daemon, layout, proc) is None


def test_a_daemon_is_recognised_while_nsenter_still_stands_before_it(layout: Layout, tmp_path: Path) -> None:
    daemon = Daemon("etcd", (f"{layout.bin}/etcd", "--flag"))
    daemon.pid_file(layout).write_text("7\n")
    proc = proc_with(tmp_path / "proc", {7: ["nsenter", "--net=/run/netns/x", f"{layout.bin}/etcd", "--flag"]})
    assert processes.pid_of(daemon, layout, proc) == 7


@pytest.mark.parametrize("content", ["", "not a number\n", "7\n"])
def test_an_unreadable_or_dead_pid_is_no_daemon(layout: Layout, tmp_path: Path, content: str) -> None:
    daemon = Daemon("etcd", (f"{layout.bin}/etcd",))
    daemon.pid_file(layout).write_text(content)
    assert processes.pid_of(daemon, layout, proc_with(tmp_path / "proc", {})) is None


def test_stopping_leaves_a_stranger_with_the_same_pid_alone(layout: Layout, sleeper: subprocess.Popen[bytes]) -> None:
    daemon = Daemon("etcd", (f"{layout.bin}/etcd",))
    daemon.pid_file(layout).write_text(f"{sleeper.pid}\n")
    processes.stop(daemon, layout)
    assert sleeper.poll() is None
    assert not daemon.pid_file(layout).exists()


def test_a_real_process_is_ended(sleeper: subprocess.Popen[bytes]) -> None:
    processes.end([sleeper.pid], seconds=5)
    assert sleeper.wait(5) != 0


@pytest.mark.parametrize(
    ("argv", "ours"),
    [
        (["/run/x/bin/kubelet", "--v=2"], True),
        (["/usr/bin/containerd", "-c", "/run/x/n1/containerd.toml"], True),
        (["/usr/bin/containerd-shim-runc-v2", "-address", "/run/x/n1/containerd.sock"], True),
        (["/usr/bin/containerd", "-c", "/etc/containerd/config.toml"], False),
        (["/usr/bin/containerd-shim-runc-v2", "-address", "/run/containerd/containerd.sock"], False),
        (["/usr/bin/less", "/run/x/logs/etcd.log"], False),
        (["/run/xy/bin/kubelet"], False),
        ([], False),
    ],
)
def test_only_what_was_started_from_the_run_folder_is_ours(argv: list[str], ours: bool) -> None:
    assert processes.belongs(argv, Path("/run/x")) is ours


def test_the_members_of_all_our_cgroups_are_found(tmp_path: Path) -> None:
    for path, pids in {"daemons": "5\n", "sdxl-node-1/kubepods/pod1": "6\n7\n"}.items():
        folder = tmp_path / "pids" / "sdxl-operator" / path
        folder.mkdir(parents=True)
        (folder / "cgroup.procs").write_text(pids)
    assert cgroups.members(tmp_path) == {5, 6, 7}
    assert cgroups.node_members(Node(1), tmp_path) == {6, 7}


def test_the_processes_of_one_pod_are_found_on_any_node(tmp_path: Path) -> None:
    pods = "sdxl-operator/sdxl-node-2/kubepods/burstable"
    for path, pids in {"poda-1/sandbox": "5\n", "poda-1/container": "6\n7\n", "poda-11/container": "8\n"}.items():
        folder = tmp_path / "pids" / pods / path
        folder.mkdir(parents=True)
        (folder / "cgroup.procs").write_text(pids)
    assert cgroups.pod_members("a-1", tmp_path) == {5, 6, 7}
    assert cgroups.pod_members("a", tmp_path) == set()


def test_cgroups_are_removed_from_the_deepest_upwards(tmp_path: Path) -> None:
    (tmp_path / "memory" / "sdxl-operator" / "a" / "b").mkdir(parents=True)
    (tmp_path / "memory" / "somebody-else").mkdir()
    cgroups.remove(root=tmp_path)
    assert [folder.name for folder in (tmp_path / "memory").iterdir()] == ["somebody-else"]


def test_a_node_s_cpuset_is_filled_before_a_process_joins(tmp_path: Path) -> None:
    for name in ("cpuset", "pids"):
        (tmp_path / name).mkdir()
    top = tmp_path / "cpuset"
    (top / "cpuset.cpus").write_text("0-1\n")
    ours = top / "sdxl-operator"
    ours.mkdir()
    (ours / "cpuset.cpus").write_text("\n")
    cgroups.prepare(Node(1), tmp_path)
    assert (ours / "cpuset.cpus").read_text() == "0-1\n"
    assert (tmp_path / "pids" / "sdxl-operator" / "daemons").is_dir()


def test_a_daemon_whose_pid_was_never_written_down_is_not_started_twice(
    layout: Layout, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "members", lambda: {sleeper.pid})
    daemon = Daemon("sleeper", (sys.executable, "-c", "import time; time.sleep(60)"))
    assert processes.start(daemon, layout) is False
    assert processes.pid_of(daemon, layout) == sleeper.pid
