"""Edits, micro-conditioning, long prompts and previews on the tiny model, against diffusers' own pipelines."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.jobs import Job, MicroConditioning, Start

pytestmark = pytest.mark.torch

BUCKET = Bucket(32, 48)


def an_image(seed: int = 0) -> Image.Image:
    colours = np.random.default_rng(seed).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((32, 48), Image.Resampling.BICUBIC)


def a_mask() -> Image.Image:
    mask = Image.new("L", (32, 48), 0)
    mask.paste(255, (0, 0, 16, 48))
    return mask


def a_job(**changes: Any) -> Job:
    members: dict[str, Any] = {
        "prompt": "a red circle",
        "negative_prompt": "blue",
        "buckets": (BUCKET,),
        "n": 1,
        "seed": 7,
        "steps": 6,
        "guidance_scale": 4.0,
        "scheduler": "Euler",
    }
    return Job(**(members | changes))


def run(pipeline: Any, job: Job, bucket: Bucket = BUCKET) -> Any:
    (row,) = pipeline.encode(job, bucket, [0])
    while not row.done:
        pipeline.step(bucket, [row])
    return row.sampler.latents


def apart(ours: Any, theirs: Any) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def their(pipeline: Any, job: Job, **members: Any) -> Any:
    import torch

    return pipeline(
        job.prompt,
        negative_prompt=job.negative_prompt,
        num_inference_steps=job.steps,
        guidance_scale=job.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(job.seed),
        output_type="latent",
        **members,
    ).images


def loaded(kind: str, folder: Path, scheduler: Any, **parts: Any) -> Any:
    import diffusers

    pipeline = getattr(diffusers, kind).from_pretrained(folder, **parts)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = scheduler
    return pipeline


@pytest.mark.parametrize("scheduler", ["Euler", "EulerAncestral", "DPM++2MKarras", "DDIM"])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_an_edit_of_an_image_is_that_of_diffusers(
    tiny_model: Path, tiny_pipeline: Any, scheduler: str, strength: float
) -> None:
    from sdxl_runtime.schedulers import make

    job = a_job(scheduler=scheduler, start=Start(an_image(), strength))
    made = make(scheduler, tiny_pipeline.scheduler_config, job.steps)
    pipeline = loaded("StableDiffusionXLImg2ImgPipeline", tiny_model, made)
    theirs = their(pipeline, job, image=an_image(), strength=strength, original_size=(48, 32), target_size=(48, 32))
    assert apart(run(tiny_pipeline, job), theirs) < 1e-4


@pytest.fixture(scope="module")
def plain_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a VAE without moments: diffusers' inpainting ignores them."""
    import json
    import shutil

    folder = tmp_path_factory.mktemp("plain") / "model"
    shutil.copytree(tiny_model, folder)
    config = folder / "vae" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "latents_mean": None, "latents_std": None}))
    return folder


@pytest.mark.parametrize("scheduler", ["Euler", "EulerAncestral", "DDIM"])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_inpainting_is_that_of_diffusers(plain_model: Path, cpu: Any, scheduler: str, strength: float) -> None:
    from sdxl_runtime.pipeline.loading import load
    from sdxl_runtime.schedulers import make
    from sdxl_runtime.settings import Settings

    ours = load(Settings(model_path=plain_model), cpu)
    job = a_job(scheduler=scheduler, start=Start(an_image(), strength, a_mask()))
    pipeline = loaded(
        "StableDiffusionXLInpaintPipeline", plain_model, make(scheduler, ours.scheduler_config, job.steps)
    )
    theirs = their(pipeline, job, image=an_image(), mask_image=a_mask(), strength=strength, width=32, height=48)
    assert apart(run(ours, job), theirs) < 1e-4


def test_what_the_mask_keeps_is_the_images(tiny_pipeline: Any) -> None:
    import torch

    latents = run(tiny_pipeline, a_job(start=Start(an_image(), 1.0, a_mask())))
    kept = tiny_pipeline.vae.encode(an_image(), torch.Generator().manual_seed(7))
    assert latents[..., 8:].equal(kept[..., 8:])
    assert not latents[..., :8].equal(kept[..., :8])


def test_micro_conditioning_is_that_of_diffusers(tiny_model: Path, tiny_pipeline: Any) -> None:
    from sdxl_runtime.schedulers import make

    micro = MicroConditioning((96, 64), (4, 6), (40, 30), (24, 16), (1, 2), (12, 8))
    job = a_job(micro=micro, prompt_2="blue", negative_prompt_2="red")
    pipeline = loaded("StableDiffusionXLPipeline", tiny_model, make("Euler", tiny_pipeline.scheduler_config, 6))
    theirs = their(
        pipeline,
        job,
        width=32,
        height=48,
        prompt_2="blue",
        negative_prompt_2="red",
        original_size=(96, 64),
        crops_coords_top_left=(4, 6),
        target_size=(40, 30),
        negative_original_size=(24, 16),
        negative_crops_coords_top_left=(1, 2),
        negative_target_size=(12, 8),
    )
    ours = run(tiny_pipeline, job)
    assert apart(ours, theirs) < 1e-5
    assert not ours.equal(run(tiny_pipeline, a_job(prompt_2="blue", negative_prompt_2="red")))


def test_a_longer_bucket_attends_to_what_a_short_one_cuts_off(tiny_pipeline: Any) -> None:
    long = Bucket(32, 48, 1, 154)
    texts = [" ".join(["red"] * 75 + [word]) for word in ("red", "blue")]
    short = [run(tiny_pipeline, a_job(prompt=text, steps=2)) for text in texts]
    longer = [run(tiny_pipeline, a_job(prompt=text, steps=2, buckets=(long,)), long) for text in texts]
    assert short[0].equal(short[1])
    assert not longer[0].equal(longer[1])
    hidden, pooled = tiny_pipeline.text.encode(texts[0], None, 154)
    assert (tuple(hidden.shape), tuple(pooled.shape)) == ((1, 154, 64), (1, 32))


def test_one_window_of_text_is_what_diffusers_encodes(tiny_model: Path, tiny_pipeline: Any) -> None:
    import torch

    from sdxl_runtime.schedulers import make

    pipeline = loaded("StableDiffusionXLPipeline", tiny_model, make("Euler", tiny_pipeline.scheduler_config, 6))
    for text in ("", "a red circle", "red " * 200):
        with torch.no_grad():
            hidden, _, pooled, _ = pipeline.encode_prompt(text, do_classifier_free_guidance=True)
        ours = tiny_pipeline.text.encode(text, None, 77)
        assert apart(ours[0], hidden) < 1e-5
        assert apart(ours[1], pooled) < 1e-5


def test_a_text_is_encoded_once_as_long_as_it_is_remembered(tiny_pipeline: Any) -> None:
    first = tiny_pipeline.text.encode("red blue", None, 77)
    assert tiny_pipeline.text.encode("red blue", None, 77)[0] is first[0]
    tiny_pipeline.text.forget()
    again = tiny_pipeline.text.encode("red blue", None, 77)
    assert again[0] is not first[0]
    assert again[0].equal(first[0])


def test_a_preview_has_the_pictures_size_and_comes_near_its_colours(tiny_pipeline: Any) -> None:
    import torch

    preview = tiny_pipeline.vae.preview(torch.zeros(1, 4, 24, 16))
    assert preview.size == (32, 48)


def test_the_demo_models_previews_look_like_its_pictures() -> None:
    """The linear map is fitted on the model's own VAE; with the trained one it can be judged."""
    from importlib.resources import files

    import torch

    from sdxl_runtime.pipeline.autoencoder import Autoencoder

    folder = Path(str(files("sdxl_runtime") / "demo_model" / "weights"))
    weights = {"variant": "fp16", "use_safetensors": True, "local_files_only": True}
    vae = Autoencoder(folder, weights, torch.device("cpu"))
    image = Image.new("RGB", (128, 128), (200, 30, 30))
    image.paste((20, 40, 220), (64, 0, 128, 128))
    latents = vae.encode(image, torch.Generator().manual_seed(0))
    colours = [np.asarray(vae.preview(latents).resize((2, 1), Image.Resampling.BOX), dtype=int)[0, i] for i in (0, 1)]
    assert colours[0][0] > colours[0][2] + 80
    assert colours[1][2] > colours[1][0] + 80
