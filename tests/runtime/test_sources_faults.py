"""Hubs that fail: each ends in the right model or in a reason with what to do, and no part of a model is ever used."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdxl_runtime.progress import Progress
from sdxl_runtime.termination import Failure, Reason
from tests.runtime.fakehub import COMMIT, LIST, REPOSITORY, FakeHub, Fault
from tests.runtime.hub_world import (
    QUICK,
    SCHEMES,
    SMALL,
    UNET,
    VAE,
    abridged,
    contents,
    failure,
    fetch,
    hub_of,
    settings_for,
)

EACH_HUB = pytest.mark.parametrize("scheme", SCHEMES)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model() -> dict[str, bytes]:
    """The demo model's files, abridged."""
    return abridged("demo://shapes")


@pytest.fixture
def hub(model: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with hub_of(model, monkeypatch, tmp_path / "home") as found:
        yield found


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models" / "it"


PASSING: list[tuple[str, str, Sequence[Fault]]] = [
    ("a connection that is cut in the middle", UNET, [Fault(cut_after=70_000)] * 3),
    ("a connection that is cut before the first byte", UNET, [Fault(cut_after=0)] * 2),
    ("an early end that looks like the end", UNET, [Fault(cut_after=70_000, announced=False)]),
    ("a small file that is cut", SMALL, [Fault(cut_after=20)]),
    ("a hub that hangs in the middle", UNET, [Fault(hang_after=70_000)]),
    ("a hub that hangs before the first byte", UNET, [Fault(hang_after=0)]),
    ("too many requests", UNET, [Fault(status=429, headers={"Retry-After": "0"})] * 3),
    ("a quota that is spent", UNET, [Fault(status=429, headers={"RateLimit": '"api";r=0;t=0'})]),
    ("errors of the server", UNET, [Fault(status=500), Fault(status=502), Fault(status=503)]),
    ("a storage that ignores ranges", UNET, [Fault(cut_after=70_000), Fault(ignore_range=True)]),
    ("a copy with a wrong bit", UNET, [Fault(flip=True)]),
    ("a small file with a wrong bit", SMALL, [Fault(flip=True)]),
    ("a copy that is too short, once", VAE, [Fault(drop=10)]),
    ("a copy that is too long, once", VAE, [Fault(drop=-10)]),
    ("a copy that shrinks while it is loaded", VAE, [Fault(cut_after=20_000), Fault(drop=100_000)]),
    ("a list that fails", LIST, [Fault(status=500), Fault(status=429, headers={"Retry-After": "0"})]),
    ("a list that hangs", LIST, [Fault(hang_after=0)]),
]


@EACH_HUB
@pytest.mark.parametrize(("path", "faults"), [row[1:] for row in PASSING], ids=[row[0] for row in PASSING])
def test_a_fault_that_passes_ends_in_the_right_model(
    hub: FakeHub, model: dict[str, bytes], target: Path, scheme: str, path: str, faults: Sequence[Fault]
) -> None:
    hub.faults[path] = list(faults)
    fetch(settings_for(target, scheme), replace(QUICK, timeout=0.7))
    assert contents(target) == model
    assert sorted(item.name for item in target.parent.iterdir()) == ["it"]
    assert hub.faults[path] == [], "all of them happened"


R = Reason
LASTING: list[tuple[str, str, Fault, Reason, str]] = [
    ("errors of the server", UNET, Fault(status=503), R.SOURCE_UNAVAILABLE, "answered 503"),
    ("a hub that hangs", UNET, Fault(hang_after=0), R.SOURCE_UNAVAILABLE, "ReadTimeout"),
    ("a hub that always cuts", UNET, Fault(cut_after=0), R.SOURCE_UNAVAILABLE, "tried 4 times"),
    ("a long pause", UNET, Fault(status=429, headers={"Retry-After": "7200"}), R.SOURCE_UNAVAILABLE, "for 7200 s"),
    ("a list that fails", LIST, Fault(status=500), R.SOURCE_UNAVAILABLE, "answered 500"),
    ("an odd status", UNET, Fault(status=418), R.SOURCE_UNAVAILABLE, "answered 418"),
    ("a wrong bit", UNET, Fault(flip=True), R.CHECKSUM_MISMATCH, "its sha256 is not"),
    ("a wrong bit in a small file", SMALL, Fault(flip=True), R.CHECKSUM_MISMATCH, "loaded 2 times"),
    ("a file that is too short", VAE, Fault(drop=10), R.CHECKSUM_MISMATCH, "bytes and sends"),
    ("a file that is too long", VAE, Fault(drop=-10), R.CHECKSUM_MISMATCH, "bytes and sends"),
    ("one that does not say", VAE, Fault(drop=-10, announced=False), R.CHECKSUM_MISMATCH, "sends more than"),
    ("a file that is listed and gone", VAE, Fault(status=404), R.SOURCE_NOT_FOUND, f"lists {VAE}"),
    ("a file that is refused", VAE, Fault(status=403), R.SOURCE_UNAUTHORIZED, "asks for a token"),
]


@EACH_HUB
@pytest.mark.parametrize(
    ("path", "fault", "reason", "said"), [row[1:] for row in LASTING], ids=[row[0] for row in LASTING]
)
def test_a_fault_that_lasts_has_its_reason_and_what_was_loaded_is_kept(
    hub: FakeHub,
    model: dict[str, bytes],
    target: Path,
    scheme: str,
    path: str,
    fault: Fault,
    reason: Reason,
    said: str,
) -> None:
    hub.forever[path] = fault
    failed = failure(settings_for(target, scheme), replace(QUICK, timeout=0.3))
    assert failed.reason is reason, failed.message
    assert said in failed.message
    assert not target.exists()
    before = dict(hub.served)
    hub.forever.clear()
    fetch(settings_for(target, scheme))
    assert contents(target) == model
    again = [name for name in before if name not in (path, SMALL) and hub.served[name] > before[name] > 0]
    assert again == [], "what was whole is not loaded again"


@EACH_HUB
@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ({"size": 5}, "lists 5 bytes and sends"),
        ({"lfs": {"sha256": "0" * 64}}, f"is not {'0' * 64}"),
    ],
    ids=["size", "checksum"],
)
def test_a_hub_whose_list_is_not_true_gives_no_model(
    hub: FakeHub, target: Path, scheme: str, lie: dict[str, Any], said: str
) -> None:
    hub.lies[VAE] = lie
    failed = failure(settings_for(target, scheme))
    assert failed.reason is Reason.CHECKSUM_MISMATCH
    assert said in failed.message
    assert not target.exists()


def test_a_list_without_checksums_is_not_trusted(hub: FakeHub, target: Path) -> None:
    hub.lies[SMALL] = {"blobId": None}
    failed = failure(settings_for(target, "hf"))
    assert failed.reason is Reason.SOURCE_UNAVAILABLE
    assert f"{SMALL} has no size or no checksum" in failed.message


@EACH_HUB
def test_a_connection_that_is_cut_often_loads_no_byte_twice(
    hub: FakeHub, model: dict[str, bytes], target: Path, scheme: str
) -> None:
    hub.faults[UNET] = [Fault(cut_after=100_000)] * 12  # more often than anything is tried without a new byte
    fetch(settings_for(target, scheme))
    assert contents(target) == model
    assert hub.served[UNET] == len(model[UNET])


@EACH_HUB
@pytest.mark.parametrize("path", [LIST, UNET])
def test_while_a_hub_is_tried_again_progress_says_why_and_after_that_no_more(
    hub: FakeHub, target: Path, scheme: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    tell = Progress.waits_for

    def listen(progress: Progress, whom: str) -> None:
        said.append(whom)
        tell(progress, whom)

    monkeypatch.setattr(Progress, "waits_for", listen)
    hub.faults[path] = [Fault(status=503), Fault(status=429, headers={"Retry-After": "0"})]
    progress = fetch(settings_for(target, scheme))
    what = "its list of files" if path == LIST else path
    asked = f"{hub.endpoint}, asked for {what}"
    assert said[:2] == [f"{asked} (try {n} of 4): the hub answered {status}" for n, status in ((1, 503), (2, 429))]
    assert "waitsFor" not in progress.to_json()


@EACH_HUB
def test_a_retry_after_is_waited_for(hub: FakeHub, target: Path, scheme: str) -> None:
    hub.faults[UNET] = [Fault(status=429, headers={"Retry-After": "1"})]
    began = time.monotonic()
    fetch(settings_for(target, scheme))
    assert time.monotonic() - began >= 1


def test_a_full_volume_is_told_and_the_fetch_goes_on_once_there_is_room(
    hub: FakeHub, model: dict[str, bytes], target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sdxl_runtime.sources import transfer

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transfer.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        fetch(settings_for(target, "hf"))
    assert not target.exists()
    monkeypatch.undo()
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    fetch(settings_for(target, "hf"))
    assert contents(target) == model


# The command itself, killed.


def command(hub: FakeHub, target: Path, scheme: str) -> "subprocess.Popen[bytes]":
    """`sdxl-runtime fetch` as a Job runs it."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "runtime"), *sys.path]),
        "HOME": str(target.parent.parent / "home"),
        "SDXL_MODEL_SOURCE": f"{scheme}://{REPOSITORY}",
        "SDXL_MODEL_REVISION": COMMIT,
        "SDXL_MODEL_VARIANT": "fp16",
        "SDXL_MODEL_PATH": str(target),
        "SDXL_HOST": "127.0.0.1",
        "SDXL_INTERNAL_PORT": "0",
        "SDXL_TERMINATION_LOG": str(target.parent.parent / "termination-log"),
    }
    return subprocess.Popen([sys.executable, "-m", "sdxl_runtime", "fetch"], env=environment)


def until_sent(hub: FakeHub, path: str, count: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait for the hub to have sent so much of a file."""
    end = time.monotonic() + 60
    while hub.served[path] < count:
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < end
        time.sleep(0.02)
    time.sleep(0.3)  # it is written by now


@pytest.mark.parametrize(("scheme", "signal", "code"), [("hf", "KILL", -9), ("modelscope", "TERM", 143)])
def test_a_killed_fetch_leaves_no_model_and_the_next_one_goes_on_in_the_middle_of_the_file(
    hub: FakeHub, model: dict[str, bytes], target: Path, scheme: str, signal: str, code: int
) -> None:
    hub.faults[UNET] = [Fault(hang_after=500_000)]
    process = command(hub, target, scheme)
    until_sent(hub, UNET, 500_000, process)
    assert not target.exists()
    (process.kill if signal == "KILL" else process.terminate)()
    assert process.wait(30) == code
    assert not target.exists()
    assert command(hub, target, scheme).wait(120) == 0
    assert contents(target) == model
    assert hub.served[UNET] == len(model[UNET])
    assert sorted(item.name for item in target.parent.iterdir()) == ["it"]


@EACH_HUB
def test_whatever_step_fails_the_next_run_ends_in_the_right_model(
    hub: FakeHub, model: dict[str, bytes], target: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure before each rename, the last of which is the publishing."""
    renames = 0

    def count(self: Path, to: Path) -> Path:
        nonlocal renames
        renames += 1
        if renames == fail_at:
            raise Failure(Reason.INTERNAL, "killed here")
        return original(self, to)

    original, fail_at = Path.rename, 0
    monkeypatch.setattr(Path, "rename", count)
    fetch(settings_for(target, scheme))
    total, points = renames, 0
    assert total >= len(model) + 2
    for fail_at in sorted({1, 2, 3, total // 2, total - 2, total - 1, total}):
        renames, place = 0, target.parent / f"at-{fail_at}"
        assert failure(settings_for(place, scheme)).message == "killed here"
        assert not place.exists()
        fetch(settings_for(place, scheme))
        assert contents(place) == model
        points += 1
    assert points >= 6


def test_a_writer_that_stood_still_and_was_taken_over_from_publishes_nothing(
    hub: FakeHub, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken_over(path: Path, *_: object) -> None:
        (target.parent / ".lock-it").write_text('{"token": "another"}')

    monkeypatch.setattr("sdxl_runtime.sources.download.check", taken_over)
    failed = failure(settings_for(target, "hf"))
    assert failed.reason is Reason.BANK_LOCKED
    assert ".lock-it" in failed.message
    assert not target.exists()


def test_a_writer_that_was_taken_over_from_stops_loading(
    hub: FakeHub, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdxl_runtime.sources.download.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("sdxl_runtime.lock.Held.mine", lambda held: hub.served[VAE] == 0)
    assert failure(settings_for(target, "hf")).reason is Reason.BANK_LOCKED
    assert hub.served[UNET] == 0
