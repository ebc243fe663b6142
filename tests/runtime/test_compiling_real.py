"""The real compiler on a tiny model: one bucket through the whole Job, then loaded as `serve` loads it."""

import gc
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sdxl_runtime.bank import Bank, Entry, State, accepted_entry, identity
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.settings import CompileMode, Settings

if TYPE_CHECKING:
    from sdxl_runtime.device.cpu import CPUDevice
    from sdxl_runtime.pipeline import Pipeline

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")]

BUCKET = Bucket(32, 24, 2)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on two busy cores wait for each other at every kernel's end."""
    import torch

    from sdxl_runtime.device import cpu

    patch, before = pytest.MonkeyPatch(), torch.get_num_threads()
    patch.setattr(cpu, "thread_limit", lambda: 1)
    yield
    patch.undo()
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def settings(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("job")
    return Settings(
        model_path=tiny_model,
        buckets=(BUCKET,),
        compile_mode=CompileMode.AHEAD_OF_TIME,
        minimum_speedup_percent=1,  # whether the tiny model is faster is not the question here
        bank_path=folder / "bank",
        host="127.0.0.1",
        internal_port=0,
        termination_log=folder / "termination-log",
    )


@pytest.fixture(scope="module")
def done(settings: Settings) -> dict[str, Any]:
    """The termination message of the Job."""
    from sdxl_runtime import compiling

    assert compiling.main(settings) == 0
    message: dict[str, Any] = json.loads(settings.termination_log.read_text())
    return message


@pytest.fixture(scope="module")
def device() -> "CPUDevice":
    from sdxl_runtime.device.cpu import CPUDevice

    return CPUDevice()


@pytest.fixture(scope="module")
def pipeline(settings: Settings, device: "CPUDevice") -> "Pipeline":
    from sdxl_runtime.pipeline.loading import load

    return load(settings, device)


@pytest.fixture(scope="module")
def entry(settings: Settings, done: dict[str, Any], device: "CPUDevice") -> Entry:
    assert settings.bank_path is not None
    accepted = settings.bank_path / "accepted.json"
    digests = {line["bucket"]: line["digest"] for line in done["entries"]}
    accepted.write_text(json.dumps({"identity": done["identity"], "digests": digests}))
    found = accepted_entry(settings.bank_path, accepted, identity(settings, device)[0], BUCKET)
    assert isinstance(found, Entry), found
    return found


@pytest.fixture(scope="module")
def graph(entry: Entry, pipeline: "Pipeline", device: "CPUDevice") -> Callable[..., Any]:
    return device.load(pipeline.unet, BUCKET, entry.folder)


def test_the_job_keeps_the_bucket_with_what_it_measured(entry: Entry) -> None:
    manifest = entry.manifest
    assert manifest.state is State.KEPT
    assert list(manifest.files) == ["reference.safetensors", "unet.pt2"]
    assert manifest.measured["eagerMilliseconds"] > 0
    assert manifest.measured["compiledMilliseconds"] > 0
    assert manifest.difference["latentMaximum"] < 1e-2
    assert manifest.difference["psnr"] > 60
    assert {"load", "warm", "export", "compile", "measure", "compare"} == set(manifest.seconds)


def test_a_server_with_the_entry_paints_its_reference_and_without_it_too(settings: Settings, entry: Entry) -> None:
    from sdxl_runtime import loading, warmup
    from sdxl_runtime.health import Health, Outcome
    from sdxl_runtime.reference import References

    assert settings.bank_path is not None
    known: References = {}
    serving = replace(settings, bank_accepted=settings.bank_path / "accepted.json")
    painter = loading.load_painter(serving, Health(serving.buckets), known)
    for _ in range(2):
        found = warmup.compare(painter, BUCKET, known[BUCKET])
        assert found.outcome is Outcome.PASSED, found
        painter.release(BUCKET)


def test_the_job_finds_the_entry_right_when_it_is_disputed(settings: Settings, done: dict[str, Any]) -> None:
    from sdxl_runtime import compiling

    disputed = replace(settings, bank_disputed=(BUCKET.key,))
    assert compiling.main(disputed) == 0
    assert json.loads(settings.termination_log.read_text())["entries"] == done["entries"]


def test_the_package_holds_no_weights(entry: Entry, pipeline: "Pipeline") -> None:
    import zipfile

    names = zipfile.ZipFile(entry.folder / "unet.pt2").namelist()
    assert not [name for name in names if "weights" in name and not name.endswith((".so", ".json"))], names


def test_the_compiled_graph_is_the_eager_one(
    graph: Callable[..., Any], pipeline: "Pipeline", device: "CPUDevice"
) -> None:
    import torch

    inputs = pipeline.unet_inputs(BUCKET, 7)
    compiled, eager = graph(*inputs), device.eager(pipeline.unet)(*inputs)
    assert compiled.shape == eager.shape == (4, 4, 12, 16)
    torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-4)


def test_a_call_lets_go_of_the_interpreters_lock(graph: Any) -> None:
    import ctypes

    from sdxl_runtime.device.aot_package import Package

    package = graph.__wrapped__
    assert isinstance(package, Package)
    assert type(package._library) is ctypes.CDLL, "a PyDLL keeps it"


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    from sdxl_runtime.device.aot_package import Package

    (tmp_path / "unet.pt2").write_bytes(b"no package")
    with pytest.raises(RuntimeError, match=r"unet\.pt2 is no package"):
        Package(tmp_path / "unet.pt2")


def test_a_weight_that_is_changed_in_place_reaches_the_compiled_graph(
    graph: Callable[..., Any], pipeline: "Pipeline", device: "CPUDevice"
) -> None:
    import torch

    inputs = pipeline.unet_inputs(BUCKET, 7)
    before = graph(*inputs).clone()
    for name in ("conv_in.weight", "mid_block.attentions.0.transformer_blocks.0.attn2.to_q.weight"):
        weight = pipeline.unet.get_parameter(name).data
        kept = weight.clone()
        weight.mul_(1.5)
        try:
            changed = graph(*inputs)
            assert not torch.allclose(changed, before, atol=1e-6), name
            torch.testing.assert_close(changed, device.eager(pipeline.unet)(*inputs), rtol=1e-4, atol=1e-4)
        finally:
            weight.copy_(kept)


def test_eager_is_measured_on_its_own_layout_and_shares_all_other_weights(pipeline: "Pipeline") -> None:
    import torch

    from sdxl_runtime.compiling.maker import _as_diffusers_loads_it

    unet = pipeline.unet.to(memory_format=torch.channels_last)
    copied = _as_diffusers_loads_it(unet)
    for name, weight in unet.state_dict().items():
        other = copied.state_dict()[name]
        assert torch.equal(weight, other), name
        if weight.dim() == 4:
            assert other.is_contiguous(), name
        else:
            assert other.data_ptr() == weight.data_ptr(), name
    assert not unet.conv_in.weight.is_contiguous()


def test_a_row_does_not_depend_on_its_batch_mates(graph: Callable[..., Any], pipeline: "Pipeline") -> None:
    import torch

    inputs = pipeline.unet_inputs(BUCKET, 7)
    others = pipeline.unet_inputs(BUCKET, 8)
    mixed = tuple(torch.cat([mine[:1], theirs[1:]]) for mine, theirs in zip(inputs, others, strict=True))
    assert torch.equal(graph(*inputs)[0], graph(*mixed)[0])


def test_the_graph_lives_on_when_the_entrys_folder_is_gone(
    entry: Entry, pipeline: "Pipeline", device: "CPUDevice", tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(entry.folder, tmp_path / "copy")
    graph = device.load(pipeline.unet, BUCKET, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy")
    gc.collect()
    assert graph(*pipeline.unet_inputs(BUCKET, 7)).isfinite().all()


def test_a_package_of_another_unet_is_refused_by_a_name_it_lacks(entry: Entry, device: "CPUDevice") -> None:
    import torch

    with pytest.raises(RuntimeError, match=r"32x24b2 was compiled for another UNet: it has no unet\."):
        device.load(torch.nn.Linear(2, 2), BUCKET, entry.folder)


def test_a_bucket_that_does_not_suit_the_model_is_wrong_settings(settings: Settings, tmp_path: Path) -> None:
    from sdxl_runtime import compiling

    other = replace(settings, buckets=(Bucket(36, 32, 1),), bank_path=tmp_path, termination_log=tmp_path / "log")
    assert compiling.main(other) == 2
    error = json.loads((tmp_path / "log").read_text())["error"]
    assert error["reason"] == "InvalidSettings"
    assert "36x32b1" in error["message"]
    assert "multiples of 8" in error["message"]


def test_a_second_job_verifies_and_makes_nothing(settings: Settings, done: dict[str, Any]) -> None:
    from sdxl_runtime import compiling

    assert settings.bank_path is not None
    manifest = next(Bank(settings.bank_path, done["identity"]).folder.glob("*/manifest.json"))
    before = manifest.stat().st_mtime_ns
    assert compiling.main(settings) == 0
    assert manifest.stat().st_mtime_ns == before
    assert json.loads(settings.termination_log.read_text())["entries"] == done["entries"]
