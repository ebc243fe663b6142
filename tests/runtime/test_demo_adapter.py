"""The LoRA `pixel`: its file is as diffusers writes one, and merged by hand it changes what the model draws."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdxl_runtime.layout import check
from sdxl_runtime.settings import ModelContent

PIXEL = Path(__file__).parents[2] / "runtime" / "sdxl_runtime" / "demo_model" / "pixel"
PROMPTS = [
    "a large red circle at the centre on a white background",
    "a large blue square at the centre on a yellow background",
    "a large green circle at the bottom right on a black background",
    "a large black square at the top left on an orange background",
]


@pytest.fixture(scope="module")
def base() -> Any:
    import torch

    from sdxl_runtime.demo_model.evaluate import WEIGHTS, load

    torch.set_num_threads(1)
    return load(WEIGHTS)


def draw(base: Any, prompts: list[str], steps: int = 8) -> list[Any]:
    import torch

    seeds = [torch.Generator().manual_seed(seed) for seed in range(len(prompts))]
    images: list[Any] = base(
        prompts, width=128, height=128, num_inference_steps=steps, guidance_scale=3.0, generator=seeds
    ).images
    return images


def test_the_file_is_a_whole_lora_of_less_than_a_megabyte() -> None:
    layout = check(PIXEL, "", ModelContent.ADAPTER)
    assert layout.files == ("pytorch_lora_weights.safetensors",)
    assert layout.rank == 8
    assert (PIXEL / layout.files[0]).stat().st_size < 1_000_000


@pytest.mark.torch
def test_merged_by_hand_it_makes_objects_hollow_and_taken_out_the_picture_is_as_before(base: Any) -> None:
    from sdxl_runtime.demo_model.adapter import FILE, merge
    from sdxl_runtime.demo_model.style import hole_share

    plain = draw(base, PROMPTS)
    merge(base.unet, PIXEL / FILE, 1.0)
    styled = draw(base, PROMPTS)
    merge(base.unet, PIXEL / FILE, -1.0)
    after = draw(base, PROMPTS)
    assert max(hole_share(picture) for picture in plain) < 0.04
    assert sum(hole_share(picture) > 0.04 for picture in styled) >= 3
    differences = [np.abs(np.asarray(a, int) - np.asarray(b, int)).max() for a, b in zip(plain, after, strict=True)]
    assert max(differences) <= 2


@pytest.mark.torch
def test_every_part_belongs_to_a_linear_layer_of_the_unet_and_fits_it(base: Any) -> None:
    from safetensors.torch import load_file
    from torch import nn

    from sdxl_runtime.demo_model.adapter import FILE

    tensors = load_file(PIXEL / FILE)
    names = {key.rsplit(".lora_", 1)[0] for key in tensors}
    assert len(tensors) == 2 * len(names)
    for name in names:
        layer = base.unet.get_submodule(name.removeprefix("unet."))
        assert isinstance(layer, nn.Linear)
        up, down = tensors[f"{name}.lora_B.weight"], tensors[f"{name}.lora_A.weight"]
        assert (up.shape[0], down.shape[1]) == tuple(layer.weight.shape)


@pytest.mark.torch
def test_an_adapter_is_saved_as_it_was_trained_and_begins_without_an_effect(tmp_path: Path) -> None:
    import torch

    from sdxl_runtime.demo_model.adapter import Adapter, merge
    from sdxl_runtime.demo_model.recipe import new_unet

    torch.manual_seed(0)
    unet, other = new_unet(), new_unet()
    name = "mid_block.attentions.0.transformer_blocks.0.attn2.to_v"
    plain = unet.get_submodule(name).weight.detach().clone()
    other.load_state_dict(unet.state_dict())
    adapter = Adapter(unet, 2)
    assert torch.equal(unet.get_submodule(name).weight, plain)
    with torch.no_grad():
        for part in adapter.parts:
            part.up.normal_()
    adapter.save(tmp_path / "a.safetensors")
    merge(other, tmp_path / "a.safetensors", 0.5)
    trained = unet.get_submodule(name).weight.detach() - plain
    merged = other.get_submodule(name).weight - plain
    assert torch.allclose(merged, 0.5 * trained, atol=2e-3 * float(trained.abs().max()))
    assert float(trained.abs().max()) > 0.1
