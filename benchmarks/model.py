"""An SDXL-shaped model with random weights: `python -m benchmarks.model FOLDER`.

Every class is SDXL's own, and so are the UNet's three levels with one, two and more transformer layers in its blocks;
widths are a fifth of SDXL's. Timing does not depend on what weights say, and pictures of random weights show nothing.
The UNet has 52 million parameters; with a VAE factor of 8, a picture of 256×256 has latents of 32×32.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

import sdxl_runtime.demo_model
from benchmarks.context import SIZE
from sdxl_runtime import layout

SEED = 20260101
FORMAT = "1"
"""Part of the folder's name, so that a change of the model here makes a new one."""
_TEXT_WIDTHS = (128, 256)
_TIME_WIDTH = 64
_CLASSES = {
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
}


def ensure(root: Path) -> Path:
    """The model's folder under `root`; made where it is not there yet."""
    folder = root / f"model-{FORMAT}"
    if not folder.is_dir():
        staging = root / f".model-{FORMAT}"
        shutil.rmtree(staging, ignore_errors=True)
        write(staging)
        staging.rename(folder)
    return folder


def write(folder: Path) -> None:
    """Write the pipeline in the layout of `save_pretrained`, fp32, the same at every call.

    Raises:
        Failure: what was written is not what the runtime loads.
    """
    torch.manual_seed(SEED)
    tokens = _copy_tokenizers(folder)
    CLIPTextModel(_text_config(_TEXT_WIDTHS[0], tokens)).save_pretrained(folder / "text_encoder")
    CLIPTextModelWithProjection(_text_config(_TEXT_WIDTHS[1], tokens)).save_pretrained(folder / "text_encoder_2")
    unet().save_pretrained(folder / "unet")
    vae().save_pretrained(folder / "vae")
    EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1
    ).save_pretrained(folder / "scheduler")
    index = {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True, **_CLASSES}
    (folder / "model_index.json").write_text(json.dumps(index, indent=1) + "\n")
    layout.check(folder, "")


def unet() -> Any:
    """SDXL's UNet at a fifth of its widths: 52.4 million parameters, latents 32×32."""
    return UNet2DConditionModel(
        sample_size=SIZE // 8,
        block_out_channels=(64, 128, 256),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=2,
        transformer_layers_per_block=(1, 2, 4),
        attention_head_dim=(1, 2, 4),  # diffusers' name for the count of heads, each 64 wide as in SDXL
        cross_attention_dim=sum(_TEXT_WIDTHS),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=_TIME_WIDTH,
        projection_class_embeddings_input_dim=6 * _TIME_WIDTH + _TEXT_WIDTHS[1],
    )


def vae() -> Any:
    """SDXL's VAE, narrower: factor 8, four channels."""
    return AutoencoderKL(
        sample_size=SIZE,
        block_out_channels=(32, 64, 128, 128),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        scaling_factor=0.13025,
        force_upcast=False,
    )


def _text_config(width: int, tokens: dict[str, int]) -> Any:
    return CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=4,
        num_attention_heads=width // 64,
        projection_dim=width,
        hidden_act="gelu",
        **tokens,
    )


def _copy_tokenizers(folder: Path) -> dict[str, int]:
    """The demo model's tokenizers; returns what a text encoder must know of them."""
    weights = Path(sdxl_runtime.demo_model.__file__).parent / "weights"
    for name in ("tokenizer", "tokenizer_2"):
        shutil.copytree(weights / name, folder / name)
    config = json.loads((weights / "text_encoder" / "config.json").read_bytes())
    return {name: config[name] for name in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")}


def main() -> None:
    """Write the model into a folder that does not exist yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    if folder.exists():
        raise SystemExit(f"{folder} exists; name a folder that does not")
    write(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.0f} MB, layout checked")


if __name__ == "__main__":
    main()
