"""The cluster's long-running processes: started detached, remembered by pid, and never trusted by pid alone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.local import cgroups
from dev.cluster.local.layout import Layout
from dev.shell import Failed, read, tail

PROC = Path("/proc")


@dataclass(frozen=True)
class Daemon:
    """One process of the cluster: its name, its command and what has to be entered before it is run."""

    name: str
    argv: tuple[str, ...]
    enter: tuple[str, ...] = ()

    def pid_file(self, layout: Layout) -> Path:
        return layout.pids / self.name

    def log(self, layout: Layout) -> Path:
        return layout.logs / f"{self.name}.log"


def command_line(pid: int, proc: Path = PROC) -> tuple[str, ...]:
    """A process's arguments; empty when it is gone, a zombie or a kernel thread."""
    try:
        raw = (proc / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ()
    return tuple(os.fsdecode(part) for part in raw.rstrip(b"\0").split(b"\0")) if raw else ()


def is_running(daemon: Daemon, layout: Layout, proc: Path = PROC) -> bool:
    return pid_of(daemon, layout, proc) is not None


def pid_of(daemon: Daemon, layout: Layout, proc: Path = PROC) -> int | None:
    """The remembered pid, if the process behind it really is this daemon: pids are used again."""
    text = read(daemon.pid_file(layout)).strip()
    return int(text) if text.isdigit() and _is(daemon, int(text), proc) else None


def _is(daemon: Daemon, pid: int, proc: Path = PROC) -> bool:
    # while nsenter or unshare has not handed over yet, the command is the end of a longer line
    return command_line(pid, proc)[-len(daemon.argv) :] == daemon.argv


def adopt(daemon: Daemon, layout: Layout) -> bool:
    """Find a daemon whose starter was killed before it could write the pid down."""
    orphan = next((pid for pid in sorted(cgroups.members()) if _is(daemon, pid)), None)
    if orphan is not None:
        _remember(daemon, orphan, layout)
    return orphan is not None


def start(daemon: Daemon, layout: Layout) -> bool:
    """Start a daemon unless it runs. Says whether it had to be started."""
    for folder in (layout.pids, layout.logs):
        folder.mkdir(parents=True, exist_ok=True)
    if is_running(daemon, layout) or adopt(daemon, layout):
        return False
    with daemon.log(layout).open("ab") as log:
        child = subprocess.Popen(
            [*daemon.enter, *daemon.argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            preexec_fn=cgroups.join_daemons,
        )
    _remember(daemon, child.pid, layout)
    child.returncode = 0  # it outlives this process on purpose; without a code, Python warns that nobody waited for it
    return True


def _remember(daemon: Daemon, pid: int, layout: Layout) -> None:
    new = layout.pids / f".{daemon.name}"
    new.write_text(f"{pid}\n")
    new.rename(daemon.pid_file(layout))


def wait_until(ready: Callable[[], bool], daemon: Daemon, layout: Layout, seconds: float, what: str) -> None:
    """Wait for a condition; when it does not come or the daemon ends, fail with the daemon's last words."""
    deadline = time.monotonic() + seconds
    seen_dead = 0
    while not ready():
        alive = is_running(daemon, layout)
        seen_dead = (
            0 if alive else seen_dead + 1
        )  # once is not enough: while it calls exec, a process has no command line
        if seen_dead < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
            continue
        why = f"not within {seconds:.0f} s" if alive else "the process ended"
        log = daemon.log(layout)
        raise Failed(f"{daemon.name}: {what}: {why}. Its last words:\n{tail(read(log))}\nThe whole log: {log}")


def stop(daemon: Daemon, layout: Layout, seconds: float = 5.0) -> None:
    """End one daemon, politely at first."""
    pid = pid_of(daemon, layout)
    if pid is not None:
        end([pid], seconds)
    daemon.pid_file(layout).unlink(missing_ok=True)


def end(pids: Iterable[int], seconds: float) -> None:
    """SIGTERM, then after some seconds SIGKILL. The caller vouches that the pids are ours."""
    waiting = list(pids)
    send(waiting, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while waiting := [pid for pid in waiting if command_line(pid)]:
        if time.monotonic() > deadline:
            send(waiting, signal.SIGKILL)
            return
        time.sleep(0.05)


def send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def started_from(root: Path, proc: Path = PROC) -> list[int]:
    """The processes whose program or one of whose arguments lies in the run folder and that are of a kind we start."""
    return [pid for pid in all_pids(proc) if belongs(command_line(pid, proc), root)]


def all_pids(proc: Path = PROC) -> list[int]:
    return [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()]


def belongs(argv: Sequence[str], root: Path) -> bool:
    """Whether a command line is one of ours: a program of the run folder, or containerd or a shim that serves it."""
    if not argv:
        return False
    if argv[0].startswith(f"{root}/bin/"):
        return True
    program = Path(argv[0]).name
    return program.startswith("containerd") and any(word.startswith(f"{root}/") for word in argv[1:])


def shims_of(socket: Path, proc: Path = PROC) -> list[int]:
    """The shims that containerd left when it ended; they hold its containers."""
    return [pid for pid in all_pids(proc) if _is_shim(command_line(pid, proc), socket)]


def _is_shim(argv: Sequence[str], socket: Path) -> bool:
    return bool(argv) and Path(argv[0]).name.startswith("containerd-shim") and str(socket) in argv
