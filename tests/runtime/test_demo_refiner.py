"""The refiner through diffusers' own pipelines: fetched, loaded, and given the last fifth of the base's schedule."""

from pathlib import Path
from typing import Any

import pytest

from sdxl_runtime import sources
from sdxl_runtime.progress import Progress
from sdxl_runtime.settings import ModelContent, Settings

PROMPTS = ["a large red circle at the centre on a white background", "a small blue square on a yellow background"]


@pytest.fixture(scope="module")
def refiner_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "refiner"
    settings = Settings(
        model_source="demo://shapes-refiner",
        model_content=ModelContent.REFINER,
        model_variant="fp16",
        model_path=folder,
    )
    sources.fetch(settings, Progress())
    return folder


@pytest.fixture(scope="module")
def pipelines(refiner_folder: Path) -> tuple[Any, Any]:
    """The base and the refiner, as their folders say."""
    import torch
    from diffusers import StableDiffusionXLImg2ImgPipeline

    from sdxl_runtime.demo_model.evaluate import WEIGHTS, load

    torch.set_num_threads(1)
    refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(
        refiner_folder, variant="fp16", dtype=torch.float32, local_files_only=True
    )
    refiner.set_progress_bar_config(disable=True)
    return load(WEIGHTS), refiner


@pytest.mark.torch
def test_it_has_sdxls_refiner_layout(pipelines: tuple[Any, Any]) -> None:
    base, refiner = pipelines
    assert refiner.text_encoder is None
    assert refiner.tokenizer is None
    assert refiner.config.requires_aesthetics_score
    unet = refiner.unet.config
    assert unet.cross_attention_dim == refiner.text_encoder_2.config.hidden_size
    ids = unet.projection_class_embeddings_input_dim - refiner.text_encoder_2.config.projection_dim
    assert ids == 5 * unet.addition_time_embed_dim
    assert refiner.vae.config.latents_mean == base.vae.config.latents_mean


@pytest.mark.torch
def test_it_ends_what_the_base_began_and_the_pictures_are_right(pipelines: tuple[Any, Any]) -> None:
    import torch

    from sdxl_runtime.demo_model.judge import judge

    base, refiner = pipelines
    common: dict[str, Any] = {"num_inference_steps": 10, "guidance_scale": 3.0}
    latents = base(
        PROMPTS,
        width=128,
        height=128,
        denoising_end=0.8,
        output_type="latent",
        generator=[torch.Generator().manual_seed(seed) for seed in (0, 1)],
        **common,
    ).images
    ran: list[int] = []
    steps = refiner(
        PROMPTS,
        image=latents,
        denoising_start=0.8,
        callback_on_step_end=lambda pipeline, step, timestep, values: ran.append(int(timestep)) or values,
        **common,
    )
    assert ran == [199, 99]
    seen = [judge(picture) for picture in steps.images]
    assert [(one.shape, one.colour, one.background) for one in seen] == [
        ("circle", "red", "white"),
        ("square", "blue", "yellow"),
    ]


@pytest.mark.torch
def test_the_aesthetic_score_and_the_prompt_change_the_picture(pipelines: tuple[Any, Any]) -> None:
    import torch

    _, refiner = pipelines
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))

    def refined(prompt: str, score: float) -> Any:
        return refiner(
            prompt,
            image=latents,
            num_inference_steps=10,
            guidance_scale=3.0,
            denoising_start=0.8,
            aesthetic_score=score,
            output_type="latent",
        ).images

    plain = refined(PROMPTS[0], 6.0)
    assert torch.equal(plain, refined(PROMPTS[0], 6.0))
    assert not torch.allclose(plain, refined(PROMPTS[0], 2.0), atol=1e-4)
    assert not torch.allclose(plain, refined(PROMPTS[1], 6.0), atol=1e-4)


@pytest.mark.torch
def test_its_unet_begins_as_the_base_that_reads_the_second_text_encoder() -> None:
    import torch

    from sdxl_runtime.demo_model.recipe import new_refiner_unet, new_unet

    torch.manual_seed(0)
    base = new_unet()
    refiner = new_refiner_unet(base)
    pooled = torch.randn(2, 64)
    sizes = torch.tensor([[96.0, 160.0]] * 2)
    corner = torch.zeros(2, 2)

    def embedded(unet: Any, ids: Any) -> Any:
        times = unet.add_time_proj(ids.flatten()).reshape(2, -1)
        return unet.add_embedding(torch.cat([pooled, times], -1))

    of_base = embedded(base, torch.cat([sizes, corner, sizes], 1))
    of_refiner = embedded(refiner, torch.cat([sizes, corner, torch.full((2, 1), 6.0)], 1))
    assert torch.allclose(of_base, of_refiner, atol=1e-5)
    name = "up_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    assert torch.equal(refiner.get_submodule(name).weight, base.get_submodule(name).weight[:, 64:])
