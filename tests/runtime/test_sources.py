"""Where a model comes from, what is checked, and the digest over it. The files are empty shells: no torch here."""

import contextlib
import json
import threading
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sdxl_runtime import sources
from sdxl_runtime.layout import check, measure
from sdxl_runtime.progress import Progress
from sdxl_runtime.settings import ModelContent, Settings, SettingsError
from sdxl_runtime.sources.demo import copy
from sdxl_runtime.termination import Failure, Reason

MODELS = {"text_encoder": "model", "text_encoder_2": "model"} | dict.fromkeys(
    ("unet", "vae"), "diffusion_pytorch_model"
)


def write_lora(path: Path, rank: int = 4) -> None:
    """A LoRA of one layer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    layer = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    parts = {f"{layer}.lora_A.weight": (rank, 6), f"{layer}.lora_B.weight": (6, rank)}
    save_file({name: np.ones(shape, np.float16) for name, shape in parts.items()}, path)


def write_model(folder: Path, variant: str = "") -> Path:
    """The names and configurations of an SDXL model, the weights being a few bytes."""
    infix = f".{variant}" if variant else ""
    index = {"_class_name": "StableDiffusionXLPipeline", "scheduler": ["diffusers", "EulerDiscreteScheduler"]}
    files = {"scheduler/scheduler_config.json": "{}"}
    for component, name in MODELS.items():
        library = "transformers" if name == "model" else "diffusers"
        index[component] = [library, "AClass"]
        files[f"{component}/config.json"] = json.dumps({"block_out_channels": [4] * (4 if component == "vae" else 3)})
        files[f"{component}/{name}{infix}.safetensors"] = f"weights of {component}"
    for component in ("tokenizer", "tokenizer_2"):
        index[component] = ["transformers", "CLIPTokenizer"]
        files |= {f"{component}/{name}": "{}" for name in ("tokenizer_config.json", "vocab.json", "merges.txt")}
    for name, content in {**files, "model_index.json": json.dumps(index)}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "claim" / "model")


def failure(folder: Path, variant: str = "") -> Failure:
    with pytest.raises(Failure) as failed:
        check(folder, variant)
    return failed.value


def settings(
    tmp_path: Path, source: str, path: Path, variant: str = "", content: ModelContent = ModelContent.PIPELINE
) -> Settings:
    return Settings(
        model_source=source,
        model_content=content,
        model_path=path,
        model_variant=variant,
        host="127.0.0.1",
        internal_port=0,
        termination_log=tmp_path / "termination-log",
    )


def test_a_whole_model_is_accepted_with_its_files_and_size_multiple(model: Path) -> None:
    layout = check(model, "")
    assert "unet/diffusion_pytorch_model.safetensors" in layout.files
    assert "tokenizer_2/merges.txt" in layout.files
    assert len(layout.files) == 16
    assert layout.size_multiple == 8 * 4  # VAE factor 2^3, three UNet levels


@pytest.mark.parametrize(
    ("missing", "there"),
    [
        ("unet/config.json", "diffusion_pytorch_model.safetensors"),
        ("unet/diffusion_pytorch_model.safetensors", "config.json"),
        ("vae/diffusion_pytorch_model.safetensors", "config.json"),
        ("text_encoder/model.safetensors", "config.json"),
        ("text_encoder_2/config.json", "model.safetensors"),
        ("tokenizer/merges.txt", "tokenizer_config.json, vocab.json"),
        ("tokenizer_2/tokenizer_config.json", "merges.txt, vocab.json"),
        ("scheduler/scheduler_config.json", "scheduler is empty"),
    ],
)
def test_a_missing_file_is_named_with_what_is_there_instead(model: Path, missing: str, there: str) -> None:
    (model / missing).unlink()
    failed = failure(model)
    assert failed.reason is Reason.MODEL_INVALID
    assert f"{missing} is missing" in failed.message
    assert there in failed.message


def test_a_missing_component_folder_is_named(model: Path) -> None:
    (model / "scheduler" / "scheduler_config.json").unlink()
    (model / "scheduler").rmdir()
    assert "the folder scheduler is not there" in failure(model).message


def test_an_empty_folder_and_no_folder_are_a_missing_model(tmp_path: Path) -> None:
    assert failure(tmp_path).reason is Reason.MODEL_MISSING
    assert failure(tmp_path / "none").reason is Reason.MODEL_MISSING


@pytest.mark.parametrize("content", ["", "[]", "{", '{"_class_name": "FluxPipeline"}', "{}"])
def test_an_index_that_is_not_sdxls_is_refused(model: Path, content: str) -> None:
    (model / "model_index.json").write_text(content)
    assert failure(model).reason is Reason.MODEL_INVALID
    assert "model_index.json" in failure(model).message


def test_an_index_without_a_component_is_refused(model: Path) -> None:
    index = json.loads((model / "model_index.json").read_text())
    del index["text_encoder_2"]
    (model / "model_index.json").write_text(json.dumps(index))
    assert "text_encoder_2" in failure(model).message


def test_a_variant_takes_its_own_files_only(tmp_path: Path) -> None:
    folder = write_model(write_model(tmp_path / "both"), "fp16")
    weights = [name for name in check(folder, "fp16").files if name.endswith(".safetensors")]
    assert len(weights) == 4
    assert all(name.endswith(".fp16.safetensors") for name in weights)
    assert not [name for name in check(folder, "").files if "fp16" in name]


def test_a_model_that_only_has_a_variant_says_which(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", "fp16")
    assert failure(folder).message.endswith("set the variant to fp16")


def test_a_model_without_the_variant_says_to_leave_it_out(model: Path) -> None:
    assert failure(model, "fp16").message.endswith("leave the variant out")


def test_pickled_weights_are_refused_with_what_to_do(model: Path) -> None:
    (model / "unet" / "diffusion_pytorch_model.safetensors").rename(model / "unet" / "diffusion_pytorch_model.bin")
    assert failure(model).message.endswith("convert them to safetensors")


@pytest.mark.parametrize("variant", ["", "fp16"])
def test_sharded_weights_are_found_by_their_index_and_a_missing_shard_is_named(tmp_path: Path, variant: str) -> None:
    model = write_model(tmp_path / "model", variant)
    infix = f".{variant}" if variant else ""
    (model / "unet" / f"diffusion_pytorch_model{infix}.safetensors").unlink()
    shards = [f"diffusion_pytorch_model{infix}-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = {"weight_map": {"a": shards[0], "b": shards[1], "c": shards[0]}}
    (model / "unet" / f"diffusion_pytorch_model.safetensors.index{infix}.json").write_text(json.dumps(index))
    (model / "unet" / shards[0]).write_text("one")
    assert f"unet/{shards[1]} is missing" in failure(model, variant).message
    (model / "unet" / shards[1]).write_text("two")
    assert {f"unet/{shard}" for shard in shards} < set(check(model, variant).files)


def test_the_digest_follows_every_file_that_is_loaded_and_no_other(model: Path) -> None:
    before = measure(check(model, "")).digest
    (model / "README.md").write_text("a note")
    (model / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_text("not loaded")
    assert measure(check(model, "")).digest == before
    for name in check(model, "").files:
        content = (model / name).read_text()
        (model / name).write_text(content + " ")
        assert measure(check(model, "")).digest != before, name
        (model / name).write_text(content)
    assert measure(check(model, "")).digest == before


def test_the_digest_does_not_depend_on_where_the_model_lies(model: Path, tmp_path: Path) -> None:
    assert measure(check(model, "")).digest == measure(check(write_model(tmp_path / "elsewhere"), "")).digest


def test_a_claims_model_is_measured_in_place(model: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in model.parent.rglob("*"))
    assert sources.main(settings(tmp_path, "pvc://claim/model", model)) == 0
    message = json.loads((tmp_path / "termination-log").read_text())
    assert message == {
        "digest": measure(check(model, "")).digest,
        "bytes": sum((model / name).stat().st_size for name in check(model, "").files),
        "files": 16,
        "sizeMultiple": 32,
        "seconds": 0,
    }
    assert sorted(path.name for path in model.parent.rglob("*")) == before


def test_a_folder_that_a_claim_lacks_is_named_with_what_it_holds(model: Path, tmp_path: Path) -> None:
    assert sources.main(settings(tmp_path, "pvc://claim/modle", model.parent / "modle")) == 1
    error = json.loads((tmp_path / "termination-log").read_text())["error"]
    assert error["reason"] == "ModelMissing"
    assert error["message"].endswith("holds model")


DEMOS = [
    ("demo://shapes", ModelContent.PIPELINE, "fp16"),
    ("demo://shapes-refiner", ModelContent.REFINER, "fp16"),
    ("demo://pixel", ModelContent.ADAPTER, ""),
]


@pytest.mark.parametrize(("source", "content", "variant"), DEMOS)
def test_each_demo_source_is_copied_whole_and_measured_as_its_content(
    tmp_path: Path, source: str, content: ModelContent, variant: str
) -> None:
    target = tmp_path / "models" / "demo"
    assert sources.main(settings(tmp_path, source, target, variant, content)) == 0
    message = json.loads((tmp_path / "termination-log").read_text())
    layout = check(target, variant, content)
    measured = measure(layout)
    expected = {
        "digest": measured.digest,
        "bytes": measured.bytes,
        "files": measured.files,
        "sizeMultiple": 1 if content is ModelContent.ADAPTER else 32,
        "seconds": message["seconds"],
    }
    assert message == expected | ({"rank": 8} if content is ModelContent.ADAPTER else {})
    there = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    assert there == sorted(layout.files)
    assert not [path for path in target.rglob("*") if path.is_symlink()]


def test_all_demo_weights_together_are_at_most_20_megabytes() -> None:
    folders = [resources.files("sdxl_runtime.demo_model") / name for name in ("weights", "refiner", "pixel")]
    with contextlib.ExitStack() as stack:
        found = [
            path for folder in folders for path in stack.enter_context(resources.as_file(folder)).rglob("*.safetensors")
        ]
        sizes = [path.stat().st_size for path in found]
    assert len(sizes) == 6
    assert sum(sizes) <= 20_000_000


@pytest.mark.parametrize(("source", "content", "variant"), DEMOS)
def test_a_demo_source_of_another_content_is_wrong_settings(
    tmp_path: Path, source: str, content: ModelContent, variant: str
) -> None:
    wrong = ModelContent.REFINER if content is not ModelContent.REFINER else ModelContent.PIPELINE
    with pytest.raises(SettingsError, match=f"SDXL_MODEL_CONTENT is '{wrong}'; for {source} it must be {content}"):
        sources.fetch(settings(tmp_path, source, tmp_path / "x", variant, wrong), Progress())


def test_an_adapter_with_a_variant_is_wrong_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SDXL_MODEL_VARIANT is 'fp16'"):
        sources.fetch(settings(tmp_path, "demo://pixel", tmp_path / "x", "fp16", ModelContent.ADAPTER), Progress())


def test_the_content_is_read_from_the_environment_and_another_word_is_refused() -> None:
    assert Settings.from_environment({}).model_content is ModelContent.PIPELINE
    assert Settings.from_environment({"SDXL_MODEL_CONTENT": "Adapter"}).model_content is ModelContent.ADAPTER
    with pytest.raises(
        SettingsError, match="SDXL_MODEL_CONTENT is 'LoRA'; it must be one of Pipeline, Refiner, Adapter"
    ):
        Settings.from_environment({"SDXL_MODEL_CONTENT": "LoRA"})


@pytest.mark.parametrize("name", ["", "lora.safetensors"])
def test_an_adapter_of_a_claim_is_a_file_or_its_folder(tmp_path: Path, name: str) -> None:
    write_lora(tmp_path / "claim" / "lora" / "lora.safetensors")
    path = tmp_path / "claim" / "lora" / name
    assert sources.main(settings(tmp_path, "pvc://claim/lora", path, "", ModelContent.ADAPTER)) == 0
    message = json.loads((tmp_path / "termination-log").read_text())
    assert (message["files"], message["rank"], message["sizeMultiple"]) == (1, 4, 1)


def test_a_file_is_no_place_for_a_model(tmp_path: Path) -> None:
    write_lora(tmp_path / "lora.safetensors")
    assert sources.main(settings(tmp_path, "pvc://claim/lora.safetensors", tmp_path / "lora.safetensors")) == 1
    assert json.loads((tmp_path / "termination-log").read_text())["error"]["reason"] == "ModelMissing"


def test_a_claim_without_the_adapter_says_what_it_holds(tmp_path: Path) -> None:
    write_lora(tmp_path / "claim" / "lora.safetensors")
    wrong = tmp_path / "claim" / "laura.safetensors"
    assert sources.main(settings(tmp_path, "pvc://claim/laura.safetensors", wrong, "", ModelContent.ADAPTER)) == 1
    error = json.loads((tmp_path / "termination-log").read_text())["error"]
    assert error["message"].endswith("has no such file or folder; " + f"{tmp_path / 'claim'} holds lora.safetensors")


@pytest.mark.parametrize("source", ["", "hf//x", "ftp://x", "demo://circles", "shapes"])
def test_an_unknown_source_is_wrong_settings(tmp_path: Path, source: str) -> None:
    assert sources.main(settings(tmp_path, source, tmp_path / "model")) == 2
    error = json.loads((tmp_path / "termination-log").read_text())["error"]
    assert error["reason"] == "InvalidSettings"
    assert repr(source) in error["message"]


def test_an_unknown_source_raises_for_callers_in_process(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="demo://, hf://, modelscope://, pvc://"):
        sources.fetch(settings(tmp_path, "x://y", tmp_path), Progress())


def test_a_copy_holds_what_is_loaded_and_nothing_else(model: Path, tmp_path: Path) -> None:
    (model / "README.md").write_text("a note")
    target = tmp_path / "models" / "shapes"
    copy(check(model, ""), target, "", Progress())
    assert measure(check(target, "")) == measure(check(model, ""))
    assert sorted(path.name for path in target.parent.iterdir()) == ["shapes"]
    assert not (target / "README.md").exists()


def test_a_copy_that_is_there_already_is_left_alone(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "models" / "shapes"
    copy(check(model, ""), target, "", Progress())
    before = (target / "model_index.json").stat().st_ino
    progress = Progress()
    copy(check(model, ""), target, "", progress)
    assert (target / "model_index.json").stat().st_ino == before
    assert progress.state.bytes == 0


def test_a_damaged_or_older_copy_is_replaced(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "models" / "shapes"
    copy(check(model, ""), target, "", Progress())
    (target / "unet" / "diffusion_pytorch_model.safetensors").write_text("damaged")
    (target / "vae" / "config.json").unlink()
    copy(check(model, ""), target, "", Progress())
    assert measure(check(target, "")) == measure(check(model, ""))


def test_what_a_killed_copy_left_is_swept(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "models" / "shapes"
    (target.parent / ".staging-shapes-dead" / "unet").mkdir(parents=True)
    (target.parent / ".staging-other-alive").mkdir()
    copy(check(model, ""), target, "", Progress())
    assert sorted(path.name for path in target.parent.iterdir()) == [".staging-other-alive", "shapes"]


def test_a_copy_that_fails_leaves_nothing(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = check(model, "")
    (model / "vae" / "config.json").unlink()
    with pytest.raises(FileNotFoundError):
        copy(layout, tmp_path / "models" / "shapes", "", Progress())
    assert list((tmp_path / "models").iterdir()) == []


def test_several_copies_at_once_end_in_one_whole_model(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "models" / "shapes"
    threads = [threading.Thread(target=copy, args=(check(model, ""), target, "", Progress())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert measure(check(target, "")) == measure(check(model, ""))
    assert sorted(path.name for path in target.parent.iterdir()) == ["shapes"]
