"""What a refiner's folder and a LoRA's file must hold; a whole pipeline's folder is in test_sources. No torch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from sdxl_runtime.layout import adapter, check, measure
from sdxl_runtime.settings import ModelContent
from sdxl_runtime.termination import Failure, Reason

LAYER = "unet.down_blocks.2.attentions.0.transformer_blocks.0.attn1.to_q"
KOHYA = "lora_unet_down_blocks_2_attentions_0_transformer_blocks_0_attn1_to_q"
TEXT_LAYER = "text_encoder_2.text_model.encoder.layers.0.mlp.fc1"
Shapes = dict[str, tuple[int, ...]]


def write_refiner(folder: Path, variant: str = "", **index: Any) -> Path:
    """The names and configurations of a refiner, the weights being a few bytes."""
    infix = f".{variant}" if variant else ""
    models = {"text_encoder_2": "model", "unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}
    files = {"scheduler/scheduler_config.json": "{}"}
    members: dict[str, Any] = {
        "_class_name": "StableDiffusionXLImg2ImgPipeline",
        "requires_aesthetics_score": True,
        "text_encoder": [None, None],
        "tokenizer": [None, None],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
    }
    for component, name in models.items():
        members[component] = ["transformers" if name == "model" else "diffusers", "AClass"]
        files[f"{component}/config.json"] = json.dumps({"block_out_channels": [4] * 4})
        files[f"{component}/{name}{infix}.safetensors"] = f"weights of {component}"
    files |= {f"tokenizer_2/{name}": "{}" for name in ("tokenizer_config.json", "vocab.json", "merges.txt")}
    files["model_index.json"] = json.dumps(members | index)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def refusal(path: Path, content: ModelContent, variant: str = "") -> Failure:
    with pytest.raises(Failure) as failed:
        check(path, variant, content)
    return failed.value


def write_lora(file: Path, shapes: Shapes, dtype: Any = np.float16) -> Path:
    save_file({name: np.zeros(shape, dtype) for name, shape in shapes.items()}, file)
    return file


def test_a_whole_refiner_is_accepted_without_a_first_text_encoder(tmp_path: Path) -> None:
    layout = check(write_refiner(tmp_path), "", ModelContent.REFINER)
    assert len(layout.files) == 11
    assert layout.size_multiple == 8 * 8
    assert layout.rank is None
    assert not [name for name in layout.files if name.startswith(("text_encoder/", "tokenizer/"))]


@pytest.mark.parametrize(
    "missing",
    [
        "scheduler/scheduler_config.json",
        "text_encoder_2/model.fp16.safetensors",
        "tokenizer_2/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/config.json",
    ],
)
def test_a_file_that_a_refiner_lacks_is_named(tmp_path: Path, missing: str) -> None:
    (write_refiner(tmp_path, "fp16") / missing).unlink()
    failed = refusal(tmp_path, ModelContent.REFINER, "fp16")
    assert failed.reason is Reason.MODEL_INVALID
    assert f"{missing} is missing" in failed.message


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("text_encoder", ["transformers", "CLIPTextModel"], "for text_encoder; it must be [null, null]"),
        ("tokenizer", ["transformers", "CLIPTokenizer"], "for tokenizer; it must be [null, null]"),
        ("requires_aesthetics_score", False, "False for requires_aesthetics_score; it must be true"),
        ("text_encoder_2", [None, None], "for text_encoder_2; it must name a diffusers or transformers class"),
    ],
)
def test_an_index_that_is_not_a_refiners_is_refused_with_what_would_be_right(
    tmp_path: Path, member: str, value: Any, words: str
) -> None:
    assert words in refusal(write_refiner(tmp_path, **{member: value}), ModelContent.REFINER).message


def test_a_refiner_given_as_a_pipeline_and_the_other_way_round_are_told_so(tmp_path: Path) -> None:
    message = refusal(write_refiner(tmp_path), ModelContent.PIPELINE).message
    assert message.endswith("it must be StableDiffusionXLPipeline; as it is, set the content to Refiner")
    write_refiner(tmp_path, _class_name="StableDiffusionXLPipeline")
    assert refusal(tmp_path, ModelContent.REFINER).message.endswith("set the content to Pipeline")


def test_the_rank_is_the_highest_of_an_adapters_parts(tmp_path: Path) -> None:
    other = LAYER.replace("to_q", "to_out.0")
    shapes: Shapes = {f"{LAYER}.lora_A.weight": (4, 6), f"{LAYER}.lora_B.weight": (6, 4), f"{LAYER}.alpha": ()}
    shapes |= {f"{other}.lora_A.weight": (16, 6), f"{other}.lora_B.weight": (6, 16)}
    header = adapter.read(write_lora(tmp_path / "a.safetensors", shapes))
    assert header == adapter.Header(16, (other, LAYER))


@pytest.mark.parametrize(
    "keys",
    [
        (f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight"),
        (f"{LAYER}.lora.down.weight", f"{LAYER}.lora.up.weight"),
        (f"{KOHYA}.lora_down.weight", f"{KOHYA}.lora_up.weight"),
        (f"{TEXT_LAYER}.lora_A.weight", f"{TEXT_LAYER}.lora_B.weight"),
        ("lora_te1_text_model_layer.lora_down.weight", "lora_te1_text_model_layer.lora_up.weight"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_keys_of_diffusers_and_of_kohya_are_known(tmp_path: Path, keys: tuple[str, str], dtype: Any) -> None:
    down, up = keys
    file = write_lora(tmp_path / "a.safetensors", {down: (4, 6), up: (8, 4)}, dtype)
    layout = check(file, "", ModelContent.ADAPTER)
    assert (layout.files, layout.size_multiple, layout.rank) == (("a.safetensors",), 1, 4)
    assert measure(layout) == measure(check(tmp_path, "", ModelContent.ADAPTER))
    assert measure(layout).bytes == file.stat().st_size


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({f"{LAYER}.weight": (6, 6)}, f"the key '{LAYER}.weight'; a LoRA's keys are like unet."),
        ({"transformer.x.lora_A.weight": (4, 6)}, "'transformer.x.lora_A.weight'"),
        ({f"{LAYER}.lora_magnitude_vector": (6,)}, "which is of DoRA"),
        ({f"{KOHYA}.hada_w1_a": (4, 6)}, "which is of LoHa"),
        ({f"{KOHYA}.lokr_w1": (4, 6)}, "which is of LoKr"),
        ({f"{LAYER}.lora_A.weight": (4, 6)}, f"only one of the two matrices of {LAYER}"),
        ({f"{LAYER}.alpha": ()}, "or its alpha alone"),
        ({f"{LAYER}.lora_A.weight": (4, 6), f"{LAYER}.lora_B.weight": (6, 5)}, "[4, 6] and [6, 5]"),
        ({f"{LAYER}.lora_A.weight": (4, 6), f"{LAYER}.lora_B.weight": (6, 4, 1, 1)}, "(rank, in) and (out, rank)"),
        ({}, "no tensors"),
    ],
)
def test_a_file_that_is_no_lora_is_refused_with_what_is_wrong(tmp_path: Path, shapes: Shapes, words: str) -> None:
    failed = refusal(write_lora(tmp_path / "a.safetensors", shapes), ModelContent.ADAPTER)
    assert failed.reason is Reason.MODEL_INVALID
    assert "a.safetensors" in failed.message
    assert words in failed.message


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    shapes: Shapes = {f"{LAYER}.lora_A.weight": (4, 6), f"{LAYER}.lora_B.weight": (6, 4)}
    file = write_lora(tmp_path / "a.safetensors", shapes, np.int8)
    assert "in I8; it must be one of F64, F32, F16, BF16" in refusal(file, ModelContent.ADAPTER).message


@pytest.mark.parametrize("kept", [0, 4, 40, -1])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, kept: int) -> None:
    file = write_lora(tmp_path / "a.safetensors", {f"{LAYER}.lora_A.weight": (4, 6), f"{LAYER}.lora_B.weight": (6, 4)})
    file.write_bytes(file.read_bytes()[:kept])
    assert "a.safetensors is not a whole .safetensors file" in refusal(file, ModelContent.ADAPTER).message


def test_no_adapter_and_more_than_one_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_text("pickled")
    failed = refusal(tmp_path, ModelContent.ADAPTER)
    assert failed.reason is Reason.MODEL_MISSING
    assert failed.message.endswith("holds no .safetensors file; there is weights.bin")
    for name in "ab":
        (tmp_path / f"{name}.safetensors").write_text("")
    assert "2 .safetensors files, a.safetensors, b.safetensors" in refusal(tmp_path, ModelContent.ADAPTER).message
    assert "weights.bin is not a .safetensors file" in refusal(tmp_path / "weights.bin", ModelContent.ADAPTER).message
    assert refusal(tmp_path / "none", ModelContent.ADAPTER).reason is Reason.MODEL_MISSING
