"""A tiny SDXL pipeline with random weights, every class the real one has, made without a network in a few seconds."""

import json
from pathlib import Path
from typing import Any

import pytest

_MERGES = ["r e", "re d</w>", "c i", "ci r", "b l", "bl u", "blu e</w>", "a n"]


def write_tokenizer(folder: Path) -> int:
    """A byte-level CLIP tokenizer; returns the size of its vocabulary."""
    from transformers import CLIPTokenizer

    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    merged = [merge.replace(" ", "") for merge in _MERGES]
    words = [*symbols, *(symbol + "</w>" for symbol in symbols), *merged, "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(_MERGES) + "\n")
    CLIPTokenizer.from_pretrained(folder, model_max_length=77).save_pretrained(folder)
    return len(words)


def text_config(vocabulary: int) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=3,
        num_attention_heads=4,
        projection_dim=32,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
    )


def write_tiny_model(folder: Path) -> None:
    """diffusers' own dummy components, with a three-level UNet and a VAE with mean and deviation per channel."""
    import torch
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    vocabulary = max(write_tokenizer(folder / name) for name in ("tokenizer", "tokenizer_2"))
    CLIPTextModel(text_config(vocabulary)).save_pretrained(folder / "text_encoder")
    CLIPTextModelWithProjection(text_config(vocabulary)).save_pretrained(folder / "text_encoder_2")
    UNet2DConditionModel(
        block_out_channels=(4, 8, 8),
        layers_per_block=1,
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(1, 2, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 1, 1),
        projection_class_embeddings_input_dim=80,
        cross_attention_dim=64,
        norm_num_groups=2,
    ).save_pretrained(folder / "unet")
    AutoencoderKL(
        block_out_channels=(4, 8),
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        norm_num_groups=2,
        latents_mean=[0.1, -0.1, 0.2, 0.0],
        latents_std=[0.9, 1.1, 1.0, 1.2],
    ).save_pretrained(folder / "vae")
    EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1
    ).save_pretrained(folder / "scheduler")
    classes = {
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    index = {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True, **classes}
    (folder / "model_index.json").write_text(json.dumps(index))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny model: VAE factor 2, three UNet levels, so sizes are multiples of 8."""
    folder = tmp_path_factory.mktemp("tiny-model")
    write_tiny_model(folder)
    return folder


@pytest.fixture(scope="session")
def cpu() -> Any:
    """The CPU device with one thread: on a busy machine, threads that wait for each other cost more than they bring."""
    import torch

    from sdxl_runtime.device.cpu import CPUDevice

    torch.set_num_threads(1)
    return CPUDevice()


@pytest.fixture(scope="session")
def tiny_pipeline(tiny_model: Path, cpu: Any) -> Any:
    """The tiny model on the CPU, eager and in fp32."""
    from sdxl_runtime.pipeline.loading import load
    from sdxl_runtime.settings import Settings

    return load(Settings(model_path=tiny_model), cpu)
