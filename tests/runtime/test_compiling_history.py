"""What buckets that were made say of how long others will take."""

from dataclasses import replace
from pathlib import Path

import pytest

from sdxl_runtime import compiling
from sdxl_runtime.bank import Bank, Entry, Manifest, State, identity
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.compiling.history import History
from sdxl_runtime.compiling.result import Difference, Made, Times, Tolerance
from sdxl_runtime.device.simulated import SimulatedDevice
from sdxl_runtime.progress import Outlook, Progress
from sdxl_runtime.settings import Backend, CompileMode, Settings
from tests.runtime.banks import FIELDS, IDENTITY, publish

SMALL, LARGE, BATCH = Bucket(128, 128), Bucket(256, 128), Bucket(128, 128, 8)


def test_a_bucket_that_was_made_takes_as_long_again() -> None:
    found = History({SMALL: 40.0, LARGE: 90.0}).outlook(SMALL, [SMALL, LARGE])
    assert found == Outlook(("128x128b1", "256x128b1"), 40.0, 90.0, ("128x128b1", "256x128b1"))


def test_one_that_was_not_is_reckoned_from_the_most_similar_by_pixels_and_batch() -> None:
    history = History({SMALL: 40.0, BATCH: 200.0})
    assert history.outlook(LARGE, [LARGE]) == Outlook(("256x128b1",), 80.0, 0, ("128x128b1",))
    four = Bucket(128, 128, 4)
    assert history.outlook(four, [four]) == Outlook(("128x128b4",), 100.0, 0, ("128x128b8",))


def test_where_two_are_as_similar_the_answer_does_not_depend_on_their_order() -> None:
    two = {Bucket(64, 64): 5.0, Bucket(64, 64, 4): 30.0}
    for seconds in (two, dict(reversed(two.items()))):
        assert History(seconds).outlook(Bucket(64, 64, 2), [Bucket(64, 64, 2)]).present_seconds == 10.0


def test_the_present_bucket_counts_only_if_it_has_to_be_made() -> None:
    found = History({SMALL: 40.0, LARGE: 90.0}).outlook(SMALL, [LARGE])
    assert (found.left, found.present_seconds, found.following_seconds) == (("256x128b1",), 0, 90.0)


def test_nothing_measured_is_no_outlook_but_what_is_left_is_known() -> None:
    assert History().outlook(SMALL, [SMALL, LARGE]) == Outlook(("128x128b1", "256x128b1"))
    assert History({SMALL: 40.0}).outlook(SMALL, []) == Outlook()


def test_a_bank_remembers_also_what_it_took_before_the_driver_changed(tmp_path: Path) -> None:
    publish(tmp_path, LARGE, fields={**FIELDS, "driver": "older"})
    assert History.of_bank(tmp_path, IDENTITY).outlook(LARGE, [LARGE]).present_seconds == 40.0


def test_of_two_identities_the_present_one_counts(tmp_path: Path) -> None:
    bank = Bank(tmp_path, IDENTITY)
    with bank.staging(SMALL) as folder:
        manifest = Manifest(IDENTITY, FIELDS, SMALL, State.KEPT, seconds={"compile": 7.0, "load": 100.0})
        bank.publish(folder, manifest)
    for driver in ("a", "b", "c", "d"):
        publish(tmp_path, SMALL, fields={**FIELDS, "driver": driver})
    assert History.of_bank(tmp_path, IDENTITY).outlook(SMALL, [SMALL]).present_seconds == 7.0


def test_a_manifest_that_cannot_be_read_or_tells_no_seconds_teaches_nothing(tmp_path: Path) -> None:
    bank = Bank(tmp_path, IDENTITY)
    with bank.staging(SMALL) as folder:
        bank.publish(folder, Manifest(IDENTITY, FIELDS, SMALL, State.KEPT))
    damaged = publish(tmp_path, LARGE)
    (damaged.folder / "manifest.json").write_text("{")
    assert History.of_bank(tmp_path, IDENTITY).outlook(SMALL, [SMALL]).measured == ()


BUCKETS = (SMALL, LARGE, BATCH)


class Watching:
    """A maker that notes what `/progress` says while it is at work; a bucket takes a second for 128×128 pixels."""

    def __init__(self) -> None:
        self.said: dict[str, dict[str, object]] = {}

    def make(self, bucket: Bucket, folder: Path, progress: Progress) -> Made:
        (folder / "unet.pt2").write_bytes(b"package")
        self.said[bucket.key] = progress.to_json()
        spent = bucket.width * bucket.height * bucket.batch / 128**2
        times = Times(15.0, 15.0)
        seconds = {"load": 50.0, "compile": spent * 30, "measure": spent * 10}
        return Made(Times(20.0, 20.0), times, Difference(0, 120), Tolerance(0.01, 60), seconds)


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch) -> Watching:
    maker = Watching()
    monkeypatch.setattr(compiling, "SimulatedMaker", lambda seconds: maker)
    return maker


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        backend=Backend.SIMULATED,
        buckets=BUCKETS,
        compile_mode=CompileMode.AHEAD_OF_TIME,
        bank_path=tmp_path / "bank",
        host="127.0.0.1",
        internal_port=0,
        termination_log=tmp_path / "termination-log",
    )


def entry(settings: Settings, bucket: Bucket) -> Entry:
    assert settings.bank_path is not None
    found = Bank(settings.bank_path, identity(settings, SimulatedDevice())[0]).entry(bucket)
    assert isinstance(found, Entry)
    return found


def test_the_first_bucket_of_a_new_bank_has_no_remaining_time_and_the_next_ones_have(
    settings: Settings, watching: Watching
) -> None:
    assert compiling.main(settings) == 0
    first, second, third = (watching.said[bucket.key] for bucket in BUCKETS)
    assert first["left"] == ["128x128b1", "256x128b1", "128x128b8"]
    assert "etaSeconds" not in first
    assert (second["etaSeconds"], second["etaFrom"]) == (80 + 320, ["128x128b1"])
    assert (third["etaSeconds"], third["etaFrom"], third["left"]) == (320, ["256x128b1"], ["128x128b8"])


def test_a_job_that_goes_on_after_an_interruption_reckons_from_what_was_published(
    settings: Settings, watching: Watching
) -> None:
    compiling.main(replace(settings, buckets=BUCKETS[:1]))
    compiling.main(settings)
    assert watching.said["256x128b1"]["etaSeconds"] == 400
    assert watching.said["256x128b1"]["left"] == ["256x128b1", "128x128b8"]


def test_a_bucket_that_is_found_damaged_is_among_those_that_are_left_and_takes_what_it_took(
    settings: Settings, watching: Watching
) -> None:
    compiling.main(settings)
    (entry(settings, LARGE).folder / "unet.pt2").write_bytes(b"damaged")
    watching.said.clear()
    assert compiling.main(settings) == 0
    assert set(watching.said) == {"256x128b1"}
    said = watching.said["256x128b1"]
    assert (said["left"], said["etaSeconds"], said["etaFrom"]) == (["256x128b1"], 80, ["256x128b1"])


def test_an_entry_tells_the_seconds_it_took_without_those_of_loading_the_model(
    settings: Settings, watching: Watching
) -> None:
    compiling.main(settings)
    manifest = entry(settings, LARGE).manifest
    assert manifest.seconds == {"load": 50.0, "compile": 60.0, "measure": 20.0}
    assert manifest.making_seconds == 80.0
    assert manifest.summary("sha256:1")["seconds"] == 80
    assert replace(manifest, seconds={"compile": 0.2}).summary("")["seconds"] == 1, "measured, so not unknown"
    assert replace(manifest, seconds={}).summary("")["seconds"] == 0
