"""LoRAs merged in place and the refiner's share of the steps, on the tiny model. No training."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.jobs import Adapter, Job
from sdxl_runtime.settings import AdapterFile, Settings
from sdxl_runtime.termination import Failure

pytestmark = pytest.mark.torch

BUCKET = Bucket(32, 48)
QUERY = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"


def a_job(**changes: Any) -> Job:
    return replace(Job("a red circle", None, (BUCKET,), 1, 7, 5, 4.0, "Euler"), **changes)


def run(pipeline: Any, job: Job, adapters: tuple[Adapter, ...] = ()) -> Any:
    pipeline.use(adapters)
    (row,) = pipeline.encode(job, BUCKET, [0])
    while not row.done:
        pipeline.step(BUCKET, [row])
    return row.sampler.latents


def write_lora(path: Path, modules: dict[str, tuple[int, int]], seed: int, rank: int = 2, alpha: float = 4.0) -> None:
    """In the format of diffusers; `modules` has each one's outputs and inputs."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    state = {}
    for name, (outputs, inputs) in modules.items():
        state[f"{name}.lora_A.weight"] = torch.randn(rank, inputs)
        state[f"{name}.lora_B.weight"] = torch.randn(outputs, rank)
        state[f"{name}.alpha"] = torch.tensor(alpha)
    save_file(state, path)


@pytest.fixture(scope="module")
def pipeline(tiny_model: Path, cpu: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The tiny model with two adapters; one of them changes a text encoder too."""
    from sdxl_runtime.pipeline.loading import load

    folder = tmp_path_factory.mktemp("adapters")
    write_lora(folder / "one.safetensors", {f"unet.{QUERY}": (8, 8)}, 1)
    text = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
    write_lora(folder / "two.safetensors", {f"unet.{QUERY}": (8, 8), text: (32, 32)}, 2)
    files = tuple(AdapterFile(name, folder / f"{name}.safetensors") for name in ("one", "two"))
    return load(Settings(model_path=tiny_model, adapters=files), cpu)


def test_merging_adds_scale_times_alpha_over_rank_times_up_times_down(pipeline: Any, tmp_path: Path) -> None:
    import torch

    weight = pipeline.unet.get_submodule(QUERY).weight
    pipeline.use(())
    before = weight.clone()
    pipeline.use((Adapter("one", 0.5),))
    delta = pipeline._adapters._deltas["one"][f"unet.{QUERY}.weight"]
    assert torch.allclose(weight - before, 0.5 * (4.0 / 2) * delta.up @ delta.down, atol=1e-6)


def test_taking_an_adapter_out_gives_back_the_same_bits(pipeline: Any) -> None:
    without = run(pipeline, a_job())
    merged = run(pipeline, a_job(), (Adapter("one"),))
    assert not merged.equal(without)
    assert run(pipeline, a_job()).equal(without)
    assert run(pipeline, a_job(), (Adapter("one"),)).equal(merged)


def test_the_way_to_an_adapter_does_not_matter(pipeline: Any) -> None:
    one, both = (Adapter("one"),), (Adapter("one"), Adapter("two", 0.3))
    direct = run(pipeline, a_job(), one)
    run(pipeline, a_job(), both)
    assert run(pipeline, a_job(), one).equal(direct)


def test_an_adapter_of_a_text_encoder_changes_what_a_prompt_means(pipeline: Any) -> None:
    pipeline.use(())
    without = pipeline.text.encode("red", None, 77)[0].clone()
    pipeline.use((Adapter("two"),))
    assert not pipeline.text.encode("red", None, 77)[0].equal(without)
    pipeline.use(())
    assert pipeline.text.encode("red", None, 77)[0].equal(without)


@pytest.mark.parametrize(
    ("modules", "rank", "words"),
    [
        ({"unet.mid_block.nothing": (8, 8)}, 2, "which this model does not have"),
        ({f"unet.{QUERY}": (9, 8)}, 2, "does not fit"),
        ({f"unet.{QUERY}": (8, 8)}, 5, "has rank 5"),
        ({}, 2, "holds no LoRA weights"),
    ],
    ids=["another model's", "another shape", "a rank too large", "empty"],
)
def test_an_adapter_that_does_not_fit_is_named_with_what_is_wrong(
    tiny_model: Path, cpu: Any, tmp_path: Path, modules: dict[str, tuple[int, int]], rank: int, words: str
) -> None:
    from sdxl_runtime.pipeline.loading import load

    write_lora(tmp_path / "bad.safetensors", modules, 1, rank)
    settings = Settings(model_path=tiny_model, adapters=(AdapterFile("bad", tmp_path, 4),))
    with pytest.raises(Failure, match=words) as error:
        load(settings, cpu)
    assert "adapter bad" in error.value.message


@pytest.fixture(scope="module")
def refiner_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A refiner in SDXL's layout: one text encoder, the aesthetic score in place of the target size."""
    import torch
    from diffusers import UNet2DConditionModel

    folder = tmp_path_factory.mktemp("refiner") / "model"
    folder.mkdir()
    shutil.copytree(tiny_model / "scheduler", folder / "scheduler")
    config = json.loads((tiny_model / "unet" / "config.json").read_text())
    torch.manual_seed(5)
    unet = UNet2DConditionModel.from_config(
        {**config, "cross_attention_dim": 32, "projection_class_embeddings_input_dim": 5 * 8 + 32}
    )
    unet.save_pretrained(folder / "unet")
    index = json.loads((tiny_model / "model_index.json").read_text())
    index |= {
        "_class_name": "StableDiffusionXLImg2ImgPipeline",
        "text_encoder": [None, None],
        "tokenizer": [None, None],
        "requires_aesthetics_score": True,
        "force_zeros_for_empty_prompt": False,
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize("scheduler", ["Euler", "DPM++2M", "DDIM"])
def test_base_and_refiner_are_those_of_diffusers(
    tiny_model: Path, refiner_model: Path, cpu: Any, scheduler: str
) -> None:
    import torch
    from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline, UNet2DConditionModel

    from sdxl_runtime.pipeline.loading import load
    from sdxl_runtime.schedulers import make

    ours = load(Settings(model_path=tiny_model, refiner_path=refiner_model, refiner_start_percent=60), cpu)
    assert ours.refines
    job = a_job(steps=10, scheduler=scheduler, refine=True)
    latents = run(ours, job)

    def generator() -> torch.Generator:
        return torch.Generator("cpu").manual_seed(job.seed)

    base = StableDiffusionXLPipeline.from_pretrained(tiny_model)
    base.set_progress_bar_config(disable=True)
    base.scheduler = make(scheduler, ours.scheduler_config, 10)
    common = {"num_inference_steps": 10, "guidance_scale": 4.0, "output_type": "latent"}
    half = base(job.prompt, width=32, height=48, denoising_end=0.6, generator=generator(), **common).images
    refiner = StableDiffusionXLImg2ImgPipeline(
        vae=base.vae,
        text_encoder=None,
        text_encoder_2=base.text_encoder_2,
        tokenizer=None,
        tokenizer_2=base.tokenizer_2,
        unet=UNet2DConditionModel.from_pretrained(refiner_model / "unet"),
        scheduler=make(scheduler, ours.scheduler_config, 10),
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
    )
    refiner.set_progress_bar_config(disable=True)
    theirs = refiner(
        job.prompt,
        image=half,
        denoising_start=0.6,
        generator=generator(),
        original_size=(48, 32),
        target_size=(48, 32),
        **common,
    ).images
    assert float((latents - theirs).abs().max() / theirs.abs().max()) < 1e-4
    assert not latents.equal(run(ours, a_job(steps=10, scheduler=scheduler)))


def test_every_step_is_taken_once_by_base_or_refiner(tiny_model: Path, refiner_model: Path, cpu: Any) -> None:
    from sdxl_runtime.pipeline.loading import load

    ours = load(Settings(model_path=tiny_model, refiner_path=refiner_model, refiner_start_percent=80), cpu)
    (row,) = ours.encode(a_job(steps=10, refine=True), BUCKET, [0])
    stages = []
    while not row.done:
        stages.append(row.refining)
        ours.step(BUCKET, [row])
    assert len(stages) == 10
    assert stages == sorted(stages)
    assert 1 <= stages.count(True) <= 3


def test_alpha_may_stand_in_the_files_metadata(tiny_model: Path, cpu: Any, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from sdxl_runtime.pipeline.loading import load

    state = {f"unet.{QUERY}.lora_A.weight": torch.ones(2, 8), f"unet.{QUERY}.lora_B.weight": torch.ones(8, 2)}
    save_file(state, tmp_path / "peft.safetensors", {"lora_adapter_metadata": '{"unet.r": 2, "unet.lora_alpha": 6}'})
    pipeline = load(Settings(model_path=tiny_model, adapters=(AdapterFile("peft", tmp_path),)), cpu)
    weight = pipeline.unet.get_submodule(QUERY).weight
    before = weight.clone()
    pipeline.use((Adapter("peft"),))
    assert torch.allclose(weight - before, torch.full((8, 8), 6.0), atol=1e-5)
