"""What a process serves each bucket with: what the bank holds, or eagerly and why. The bank itself is in test_bank."""

import base64
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from sdxl_runtime import loading
from sdxl_runtime.app import create_public_app
from sdxl_runtime.bank import Missing
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.health import Health, Outcome, State
from sdxl_runtime.reference import PICTURES, NoReference, References, record
from sdxl_runtime.serving import create_service
from sdxl_runtime.settings import Backend, CompileMode, PictureCheck, Settings
from sdxl_runtime.termination import Failure, Reason

ONE, TWO = Bucket(32, 48), Bucket(32, 48, 2)


@dataclass(frozen=True)
class Recorded:
    """As much of a manifest as loading reads."""

    reference: dict[str, Any] = field(default_factory=dict)
    tolerance: dict[str, Any] = field(default_factory=lambda: {"latentMaximum": 0.01, "psnr": 60})


@dataclass(frozen=True)
class Kept:
    """As much of a bank's entry as loading reads."""

    folder: Path
    digest: str = "sha256:0"
    manifest: Recorded = Recorded()


@pytest.fixture
def settings(tiny_model: Path) -> Settings:
    return Settings(model_path=tiny_model, buckets=(ONE, TWO), model_digest="sha256:" + "0" * 64, default_steps=2)


@pytest.fixture
def compiled(settings: Settings, cpu: Any, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that look into the bank; the device is the session's, with its one thread."""
    monkeypatch.setattr(loading, "open_device", lambda backend: cpu)
    return replace(settings, compile_mode=CompileMode.AHEAD_OF_TIME)


def table(health: Health) -> dict[str, tuple[str, str]]:
    return {bucket["key"]: (bucket["backend"], bucket["why"]) for bucket in health.to_json()["buckets"]}


@pytest.mark.torch
def test_what_the_bank_holds_is_loaded_and_the_rest_is_eager_and_says_why(
    compiled: Settings, cpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def entry(root: Any, accepted: Any, identity: str, bucket: Bucket, fields: Any) -> Any:
        return Kept(tmp_path) if bucket == ONE else Missing("the bank holds no kept entry for 32x48b2")

    def load(unet: Any, bucket: Bucket, folder: Path) -> Any:
        assert folder == tmp_path
        return cpu.eager(unet)

    monkeypatch.setattr(loading, "accepted_entry", entry)
    monkeypatch.setattr(cpu, "load", load, raising=False)
    health = Health(compiled.buckets)
    painter: Any = loading.load_painter(compiled, health)
    assert table(health) == {
        "32x48b1": ("AheadOfTime", ""),
        "32x48b2": ("Eager", "the bank holds no kept entry for 32x48b2"),
    }
    assert list(painter.graphs) == ["32x48b1"]
    assert health.state is State.WARMING
    assert len(health.identity) == 16


@pytest.mark.torch
def test_an_entry_that_cannot_be_loaded_is_served_eagerly_and_says_why(
    compiled: Settings, cpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "unet.pt2").write_bytes(b"no package")
    monkeypatch.setattr(loading, "accepted_entry", lambda *arguments: Kept(tmp_path))
    health = Health(compiled.buckets)
    painter: Any = loading.load_painter(compiled, health)
    assert painter.graphs == {}
    for backend, why in table(health).values():
        assert backend == "Eager"
        assert why.startswith("the entry of the bank cannot be loaded: ")


@pytest.mark.torch
def test_what_an_entry_has_painted_is_painted_again_and_other_weights_are_noticed(
    compiled: Settings, cpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A reference that eager made, and `load` gives eager: the same weights pass, others do not, with or without."""
    from sdxl_runtime import warmup

    settings = replace(compiled, buckets=(TWO,))
    first: Any = loading.load_painter(replace(settings, compile_mode=CompileMode.EAGER), Health((TWO,)))
    recorded = record(tmp_path, PICTURES, first.denoise(cpu.eager(first.unet), TWO, PICTURES.jobs(TWO)).numpy())
    monkeypatch.setattr(loading, "accepted_entry", lambda *arguments: Kept(tmp_path, manifest=Recorded(recorded)))
    monkeypatch.setattr(cpu, "load", lambda unet, bucket, folder: cpu.eager(unet), raising=False)
    known: References = {}
    painter: Any = loading.load_painter(settings, Health((TWO,)), known)
    assert warmup.compare(painter, TWO, known[TWO]).outcome is Outcome.PASSED
    weight = painter.unet.get_parameter("conv_out.bias").data
    weight += 0.5
    for _ in range(2):
        found = warmup.compare(painter, TWO, known[TWO])
        assert found.outcome is Outcome.DIFFERS
        assert found.difference["latentMaximum"] > 0.01
        painter.release(TWO)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("changes", "reference", "why"),
    [
        ({"picture_check": PictureCheck.DISABLED}, {"file": "x"}, "SDXL_PICTURE_CHECK is Disabled"),
        ({}, {}, "its entry has no reference"),
    ],
)
def test_what_is_not_to_be_compared_or_cannot_is_told(
    compiled: Settings,
    cpu: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    changes: dict[str, Any],
    reference: dict[str, Any],
    why: str,
) -> None:
    monkeypatch.setattr(loading, "accepted_entry", lambda *arguments: Kept(tmp_path, manifest=Recorded(reference)))
    monkeypatch.setattr(cpu, "load", lambda unet, bucket, folder: cpu.eager(unet), raising=False)
    known: References = {}
    loading.load_painter(replace(compiled, **changes), Health(compiled.buckets), known)
    for found in known.values():
        assert isinstance(found, NoReference)
        assert why in found.why


@pytest.mark.torch
def test_an_entry_whose_reference_cannot_be_read_is_not_loaded(
    compiled: Settings, cpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = Recorded({"file": "reference.safetensors", "prompts": ["a"]})
    monkeypatch.setattr(loading, "accepted_entry", lambda *arguments: Kept(tmp_path, manifest=broken))
    monkeypatch.setattr(cpu, "load", lambda *arguments: pytest.fail("it was loaded"), raising=False)
    health = Health(compiled.buckets)
    loading.load_painter(compiled, health)
    for backend, why in table(health).values():
        assert backend == "Eager"
        assert "the entry of the bank cannot be loaded: the reference's members cannot be read" in why


@pytest.mark.torch
def test_in_eager_mode_the_bank_is_not_asked(settings: Settings, cpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "open_device", lambda backend: cpu)
    monkeypatch.setattr(loading, "accepted_entry", lambda *arguments: pytest.fail("the bank was asked"))
    health = Health(settings.buckets)
    loading.load_painter(settings, health)
    assert set(table(health).values()) == {("Eager", "the compile mode is Eager")}


@pytest.mark.parametrize(
    ("bucket", "words"),
    [
        (Bucket(36, 48), "multiples of 8, e.g. width 32 or 40, height 48"),
        (Bucket(4, 49), "width 8, height 48 or 56"),
    ],
)
def test_a_size_that_does_not_suit_the_model_is_told_with_the_nearest(bucket: Bucket, words: str) -> None:
    with pytest.raises(Failure, match=words) as error:
        loading.check_sizes(Settings(buckets=(ONE, bucket)), 8)
    assert error.value.reason is Reason.INVALID_SETTINGS
    assert error.value.bucket == bucket.key


@pytest.mark.parametrize(
    ("mode", "why"),
    [(CompileMode.EAGER, "the compile mode is Eager"), (CompileMode.AHEAD_OF_TIME, "no bank is configured")],
)
def test_a_simulated_device_says_so_for_every_bucket_and_what_the_bank_has(mode: CompileMode, why: str) -> None:
    health = Health((ONE, TWO))
    settings = Settings(backend=Backend.SIMULATED, buckets=(ONE, TWO), compile_mode=mode, simulated_milliseconds=7)
    painter: Any = loading.load_painter(settings, health)
    assert table(health) == {bucket.key: ("Simulated", why) for bucket in (ONE, TWO)}
    assert painter.milliseconds == 7
    assert len(health.identity) == 16


@pytest.mark.torch
def test_a_service_paints_with_the_model_and_repeats_a_picture_by_its_seed(
    settings: Settings, cpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(loading, "open_device", lambda backend: torch.set_num_threads(1) or cpu)
    service = create_service(settings)
    service.engine.start()
    try:
        assert service.engine.settled.wait(120)
        assert service.health.state is State.READY, service.health.to_json()
        client = TestClient(create_public_app(service))

        def paint(**members: Any) -> list[dict[str, Any]]:
            answer = client.post("/v1/images/generations", json={"prompt": "red", "size": "32x48", **members})
            assert answer.status_code == 200, answer.text
            data: list[dict[str, Any]] = answer.json()["data"]
            return data

        first = paint(seed=3)
        assert paint(seed=3) == first
        assert paint(seed=4) != first
        with Image.open(BytesIO(base64.b64decode(first[0]["b64_json"]))) as image:
            assert image.size == (32, 48)
        refused = client.post("/v1/images/generations", json={"prompt": "zq" * 60})
        assert refused.status_code == 400
        assert "tokens" in refused.json()["error"]["message"]
    finally:
        service.batcher.stop()
        assert service.engine.join(30)
