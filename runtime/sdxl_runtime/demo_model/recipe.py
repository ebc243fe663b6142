"""The demo model's parts: every class of SDXL, each as small as the shapes allow.

Sizes follow what two CPU cores can train in an hour; the classes and the layout on disk are those of SDXL base.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from sdxl_runtime.demo_model.scenes import COLOURS, PLACES, SHAPES, SIZES

TOKENS = 77
"""Length of every tokenised prompt, as in SDXL."""

TEXT_WIDTH = 64
"""Width of each text encoder; the UNet attends to both side by side, so to twice as much."""

TIME_ID_WIDTH = 16
LATENT_CHANNELS = 4
VAE_FACTOR = 8

ADAPTER_RANK = 8
"""Rank of the LoRA `pixel`, and its alpha."""

REFINER_START = 0.8
"""The refiner takes the steps from this part of the noise schedule on (diffusers' `denoising_start`)."""

_OTHER_WORDS = ("a", "an", "at", "the", "on", "in", "with", "and", "of", "background", "center", "picture")


def write_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write the vocabulary and load it as a tokenizer."""
    write_vocabulary(folder)
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=TOKENS)
    return tokenizer


def write_vocabulary(folder: Path) -> None:
    """Write `vocab.json` and `merges.txt` of a byte-level BPE that knows the scenes' words.

    Each word of the scenes is one token; anything else falls back to its bytes. Layout: 256 bytes, the same 256 at a
    word's end, the merges, and the two special tokens (as in CLIP's own vocabulary).
    """
    words = {word for table in (COLOURS, PLACES, SHAPES, SIZES) for name in table for word in name.split()}
    merges: list[tuple[str, str]] = []
    for word in sorted(words | set(_OTHER_WORDS)):
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            pair = (pieces[0], pieces[1])
            if pair not in merges:
                merges.append(pair)
            pieces[:2] = ["".join(pair)]
    symbols = _byte_symbols()
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), *("".join(pair) for pair in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(dict.fromkeys(tokens))}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(pair) for pair in merges)]) + "\n")


def _byte_symbols() -> Iterable[str]:
    """The printable stand-ins that byte-level BPE uses for the 256 bytes (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    """The configuration of both text encoders: three layers, of which the UNet reads the last but one."""
    size = len(tokenizer)
    return CLIPTextConfig(
        vocab_size=size,
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        hidden_act="gelu",
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=size - 1,
    )


def new_text_encoders(tokenizer: CLIPTokenizer) -> tuple[CLIPTextModel, CLIPTextModelWithProjection]:
    """Both text encoders, untrained."""
    return CLIPTextModel(text_config(tokenizer)), CLIPTextModelWithProjection(text_config(tokenizer))


def new_vae() -> AutoencoderKL:
    """An untrained VAE: 8 pixels to a latent, 4 channels.

    One normalisation group: the pictures are flat, and normalising few channels over a flat picture
    takes away the very thing they hold, its colour.
    """
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=(16, 32, 48, 64),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=1,
        mid_block_add_attention=False,
        scaling_factor=1.0,
        force_upcast=False,
        sample_size=128,
    )


def new_unet() -> UNet2DConditionModel:
    """An untrained UNet of three levels with SDXL's micro-conditioning on picture sizes.

    It attends to the prompt on its lowest level and in the middle only: on two cores attention is what costs most.
    """
    return UNet2DConditionModel(
        sample_size=16,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        block_out_channels=(48, 96, 128),
        layers_per_block=1,
        attention_head_dim=(2, 3, 4),
        cross_attention_dim=2 * TEXT_WIDTH,
        use_linear_projection=True,
        resnet_time_scale_shift="scale_shift",
        norm_num_groups=8,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_ID_WIDTH,
        projection_class_embeddings_input_dim=6 * TIME_ID_WIDTH + TEXT_WIDTH,
    )


def new_refiner_unet(base: UNet2DConditionModel) -> UNet2DConditionModel:
    """The refiner's UNet, which starts as what it can have of the base's weights.

    As SDXL's refiner it reads the second text encoder alone, and five numbers: original height and width, the corner
    of the crop, and the aesthetic score. It has no middle and attends to the prompt on its way up only: there are
    details to mend and nothing to compose.
    """
    config = {
        **base.config,
        "down_block_types": ["DownBlock2D"] * 3,
        "mid_block_type": None,
        "cross_attention_dim": TEXT_WIDTH,
        "projection_class_embeddings_input_dim": TEXT_WIDTH + 5 * TIME_ID_WIDTH,
    }
    unet: UNet2DConditionModel = UNet2DConditionModel.from_config(config)
    weights = {name: value for name, value in base.state_dict().items() if name in unet.state_dict()}
    for name, value in weights.items():
        if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")):
            weights[name] = value[:, TEXT_WIDTH:]
    name = "add_embedding.linear_1.weight"
    pooled, *ids = weights[name].split((TEXT_WIDTH, *[TIME_ID_WIDTH] * 6), 1)
    # The base was trained with target sizes that are the original sizes; the score begins without a meaning.
    weights[name] = torch.cat([pooled, ids[0] + ids[4], ids[1] + ids[5], ids[2], ids[3], 0 * ids[0]], 1)
    unet.load_state_dict(weights)
    return unet


def new_scheduler() -> EulerDiscreteScheduler:
    """Euler's method for a model that predicts v and was trained down to no signal at all.

    Zero terminal SNR with trailing spacing (arXiv:2305.08891): a picture's background is its mean, and a sampler
    that starts from anything but pure noise would have to guess it.
    """
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
    )


def save(pipeline: StableDiffusionXLPipeline, folder: Path) -> None:
    """Write the pipeline as fp16 safetensors (`*.fp16.safetensors`) and swap it in for what `folder` held."""
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    pipeline.save_pretrained(fresh, variant="fp16", safe_serialization=True)
    for name in ("tokenizer", "tokenizer_2"):
        # transformers 5 writes `tokenizer.json` alone; SDXL's own layout, and other loaders, have these two.
        write_vocabulary(fresh / name)
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
