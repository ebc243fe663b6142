"""What the bank publishes later is taken up between turns, without a restart."""

import json
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sdxl_runtime import loading, renewal
from sdxl_runtime.bank import Entry, identity
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.compiling import fill
from sdxl_runtime.device import open_device
from sdxl_runtime.health import LOADED, Health, State
from sdxl_runtime.loading import Unbound, load_painter
from sdxl_runtime.progress import Progress
from sdxl_runtime.serving import create_service
from sdxl_runtime.settings import Backend, CompileMode, Settings, SimulatedDifference
from tests.runtime.counting import ONE, CountingPainter, a_job, running

BUCKET = Bucket(64, 64)


class Found:
    """Finds an entry for a bucket when it is told to, and binds it."""

    def __init__(self, bucket: Bucket = ONE) -> None:
        self.bucket = bucket
        self.there = threading.Event()
        self.taken = threading.Event()

    def look(self) -> Sequence[tuple[Bucket, Entry]]:
        if not self.there.is_set() or self.taken.is_set():
            return []
        entry: Any = SimpleNamespace(folder=Path("/bank/new"), digest="sha256:1")
        return [(self.bucket, entry)]

    def bind(self, painter: Any, bucket: Bucket, entry: Entry) -> None:
        painter.bind(bucket, entry.folder)
        self.taken.set()


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal.Renewals.__init__, "__defaults__", (0.01,))


def test_an_idle_engine_takes_an_entry_up_and_measures_the_bucket_anew() -> None:
    found, painter = Found(), CountingPainter()
    with running(painter, unbound=found):
        before = len(painter.calls)
        found.there.set()
        assert found.taken.wait(5)
        wait_for(lambda: any("decode warm-up" in call for call in painter.calls[before:]))
    after = painter.calls[before:]
    assert after.index("bind 64x64b1 new") < next(i for i, call in enumerate(after) if "warm-up" in call)


def test_what_is_on_its_way_ends_first_and_what_comes_later_waits() -> None:
    found, began, go_on = Found(), threading.Event(), threading.Event()

    def on_step() -> None:
        if started.is_set():
            began.set()
            assert go_on.wait(5)

    started = threading.Event()
    painter = CountingPainter(on_step=on_step)
    with running(painter, unbound=found) as server:
        started.set()
        first = server.batcher.submit(a_job("first", steps=3))
        assert began.wait(5)
        found.there.set()
        wait_for(lambda: server.engine.pending)
        second = server.batcher.submit(a_job("second", steps=1))
        go_on.set()
        first.result.result(5)
        second.result.result(5)
    order = [call for call in painter.calls if call.startswith(("bind", "decode first", "encode second"))]
    assert order == ["decode first0", "bind 64x64b1 new", "encode second [0]"]


def test_adapters_are_out_of_the_weights_while_they_are_laid_out_anew() -> None:
    found, painter = Found(), CountingPainter()
    with running(painter, unbound=found) as server:
        server.batcher.submit(a_job("styled", adapters=("pixel",))).result.result(5)
        found.there.set()
        assert found.taken.wait(5)
    uses = [call for call in painter.calls if call.startswith(("use", "bind"))]
    assert uses[-2:] == ["use none", "bind 64x64b1 new"] or uses[-1] == "bind 64x64b1 new"
    assert uses.index("use none") < uses.index("bind 64x64b1 new")


def test_a_bank_that_cannot_be_looked_at_stops_nothing() -> None:
    class Broken(Found):
        def look(self) -> Sequence[tuple[Bucket, Entry]]:
            self.there.set()
            raise OSError("the volume is gone")

    found = Broken()
    with running(CountingPainter(), unbound=found) as server:
        assert found.there.wait(5)
        assert server.batcher.submit(a_job("x")).result.result(5)


def test_an_entry_that_fails_at_its_first_run_is_let_go_of_and_the_bucket_is_served_without() -> None:
    class Failing(Found):
        def bind(self, painter: Any, bucket: Bucket, entry: Entry) -> None:
            server.health.bound(bucket, painter.bind(bucket, entry.folder), entry=LOADED, digest=entry.digest)
            failing.set()
            self.taken.set()

    def on_step() -> None:
        if failing.is_set() and "release 64x64b1" not in painter.calls:
            raise RuntimeError("an instruction that this processor lacks")

    failing, found = threading.Event(), Failing()
    painter = CountingPainter(on_step=on_step)
    with running(painter, unbound=found) as server:
        found.there.set()
        assert found.taken.wait(5)
        assert server.batcher.submit(a_job("x")).result.result(5)
        row = server.health.row(ONE)
    assert (row.backend, row.entry, row.digest) == ("Eager", "Corrupt", "sha256:1")
    assert "an instruction that this processor lacks" in row.why


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A simulated server whose bank is filled and not accepted yet."""
    found = Settings(
        backend=Backend.SIMULATED,
        buckets=(BUCKET,),
        compile_mode=CompileMode.AHEAD_OF_TIME,
        bank_path=tmp_path / "bank",
        bank_accepted=tmp_path / "accepted.json",
        simulated_compile_seconds=0,
    )
    fill(found, Progress())
    return found


def accept(settings: Settings, digests: Mapping[str, str] | None = None) -> str:
    """What the operator does after a Job: name the digests."""
    name, _ = identity(settings, open_device(settings))
    answer = fill(settings, Progress())
    known = {entry["bucket"]: entry["digest"] for entry in answer["entries"]}
    assert settings.bank_accepted is not None
    settings.bank_accepted.write_text(json.dumps({"identity": name, "digests": known if digests is None else digests}))
    return str(known[BUCKET.key])


def test_an_entry_is_found_once_it_is_accepted_and_only_once(settings: Settings) -> None:
    health = Health(settings.buckets)
    painter = load_painter(settings, health)
    unbound = Unbound(settings, health)
    assert health.row(BUCKET).entry == "Missing"
    assert unbound.look() == []
    digest = accept(settings)
    ((bucket, entry),) = unbound.look()
    assert (bucket, entry.digest) == (BUCKET, digest)
    unbound.bind(painter, bucket, entry)
    assert (health.row(BUCKET).entry, health.row(BUCKET).digest) == (LOADED, digest)
    accept(settings)
    assert unbound.look() == []


def test_nothing_is_read_while_the_acceptance_stays_the_same(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    health = Health(settings.buckets)
    load_painter(settings, health)
    accept(settings, {})
    unbound = Unbound(settings, health)
    assert unbound.look() == []
    monkeypatch.setattr(loading, "accepted_entry", lambda *arguments: pytest.fail("the bank was read"))
    assert unbound.look() == []


def test_looking_needs_no_device_and_begins_when_the_identity_is_known(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    health = Health(settings.buckets)
    unbound = Unbound(settings, health)
    accept(settings)
    assert unbound.look() == []
    monkeypatch.setattr(loading, "open_device", lambda settings: pytest.fail("the device was opened once more"))
    health.loaded(identity(settings, open_device(settings))[0])
    assert [bucket for bucket, _ in unbound.look()] == [BUCKET]


def test_a_damaged_entry_says_which_was_accepted_and_is_taken_up_when_it_was_made_again(settings: Settings) -> None:
    digest = accept(settings)
    assert settings.bank_path is not None
    (manifest,) = settings.bank_path.glob("*/64x64b1/manifest.json")
    manifest.write_bytes(manifest.read_bytes()[:-2])
    health = Health(settings.buckets)
    load_painter(settings, health)
    assert (health.row(BUCKET).entry, health.row(BUCKET).digest) == ("Corrupt", digest)
    unbound = Unbound(settings, health)
    assert unbound.look() == []
    fill(settings, Progress())  # of the same digest: the simulated compiler always measures the same
    assert [bucket for bucket, _ in unbound.look()] == [BUCKET]


def test_a_volume_that_was_emptied_is_told_and_what_was_made_again_is_taken_up(settings: Settings) -> None:
    digest = accept(settings)
    assert settings.bank_path is not None
    shutil.rmtree(settings.bank_path)
    health = Health(settings.buckets)
    load_painter(settings, health)
    assert (health.row(BUCKET).entry, health.row(BUCKET).digest) == ("Missing", digest)
    unbound = Unbound(settings, health)
    assert unbound.look() == []
    fill(settings, Progress())
    assert [entry.digest for _, entry in unbound.look()] == [digest]


def test_an_entry_that_is_whole_and_does_not_run_is_not_tried_again(settings: Settings) -> None:
    digest = accept(settings)
    health = Health(settings.buckets)
    load_painter(settings, health)
    health.refused(BUCKET, "Eager", "no such instruction", digest)
    assert Unbound(settings, health).look() == []


def test_an_entry_that_paints_wrong_and_is_taken_up_later_ends_nothing(settings: Settings) -> None:
    settings = replace(settings, simulated_milliseconds=0, simulated_picture_differs=SimulatedDifference.ALL)
    service = create_service(settings)
    service.engine.start()
    try:
        assert service.engine.settled.wait(10)
        assert service.health.row(BUCKET).entry == "Missing"
        digest = accept(settings)
        wait_for(lambda: service.health.row(BUCKET).entry == "PictureDiffers")
        assert service.health.row(BUCKET).digest == digest
        assert service.health.state is State.READY
        assert service.batcher.submit(a_job("x", buckets=(BUCKET,), steps=1)).result.result(5)
    finally:
        service.batcher.stop()
        assert service.engine.join(10)


def test_an_entry_of_another_driver_is_stale(settings: Settings) -> None:
    digest = accept(settings)
    health = Health(settings.buckets)
    load_painter(replace(settings, simulated_driver="26.0.0"), health)
    row = health.row(BUCKET)
    assert (row.entry, row.digest) == ("Stale", digest)
    assert "driver 26.0.0 here" in row.why


def test_what_an_init_container_compiled_is_accepted_by_its_own_pod(settings: Settings, tmp_path: Path) -> None:
    settings = replace(settings, bank_compiled=tmp_path / "compiled.json", bank_accepted=None)
    fill(settings, Progress())
    health = Health(settings.buckets)
    load_painter(settings, health)
    assert health.row(BUCKET).entry == LOADED


def wait_for(holds: Any) -> None:
    for _ in range(500):
        if holds():
            return
        threading.Event().wait(0.01)
    pytest.fail("never")
