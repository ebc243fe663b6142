"""The stages of a picture on the tiny model: equal to diffusers' own pipeline, and independent of batch mates.

Whether pictures show what the prompt says is judged with the demo model, not here.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.jobs import Job
from sdxl_runtime.settings import Precision, Settings, SettingsError
from sdxl_runtime.termination import Failure, Reason

pytestmark = pytest.mark.torch

ONE, TWO, FOUR = Bucket(32, 48), Bucket(32, 48, 2), Bucket(32, 48, 4)
SCHEDULERS = ("Euler", "EulerAncestral", "DPM++2M", "DPM++2MKarras", "DDIM", "UniPC", "LCM")


def a_job(prompt: str = "a red circle", **changes: Any) -> Job:
    members = {
        "negative_prompt": "blue",
        "buckets": (TWO,),
        "n": 1,
        "seed": 7,
        "steps": 5,
        "guidance_scale": 4.0,
        "scheduler": "Euler",
    }
    return Job(prompt=prompt, **(members | changes))


def run(pipeline: Any, *rows: Any, bucket: Bucket = TWO) -> list[Any]:
    """Step rows to their end, each leaving when it is done; their final latents."""
    while active := [row for row in rows if not row.done]:
        pipeline.step(bucket, active)
    return [row.sampler.latents for row in rows]


@pytest.fixture(scope="module")
def diffusers_pipeline(tiny_model: Path, cpu: Any) -> Any:
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(tiny_model)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def reference(pipeline: Any, job: Job, output_type: str = "latent") -> Any:
    import torch

    return pipeline(
        job.prompt,
        negative_prompt=job.negative_prompt,
        width=TWO.width,
        height=TWO.height,
        num_inference_steps=job.steps,
        guidance_scale=job.guidance_scale,
        num_images_per_prompt=job.n,
        generator=[torch.Generator("cpu").manual_seed(job.seed_of(i)) for i in range(job.n)],
        output_type=output_type,
    ).images


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("changes", [{}, {"negative_prompt": None}, {"guidance_scale": 1.0}], ids=str)
def test_latents_are_those_of_diffusers(
    tiny_pipeline: Any, diffusers_pipeline: Any, scheduler: str, changes: dict[str, Any]
) -> None:
    import torch

    from sdxl_runtime import schedulers

    job = a_job(n=2, scheduler=scheduler, **changes)
    diffusers_pipeline.scheduler = schedulers.make(scheduler, tiny_pipeline.scheduler_config, job.steps)
    expected = reference(diffusers_pipeline, job)
    latents = torch.cat(run(tiny_pipeline, *tiny_pipeline.encode(job, TWO, range(2))))
    assert float((latents - expected).abs().max() / expected.abs().max()) < 1e-5


def test_a_picture_is_that_of_diffusers(tiny_pipeline: Any, diffusers_pipeline: Any) -> None:
    from sdxl_runtime import schedulers

    job = a_job()
    diffusers_pipeline.scheduler = schedulers.make("Euler", tiny_pipeline.scheduler_config, job.steps)
    expected = np.asarray(reference(diffusers_pipeline, job, "pil")[0], dtype=int)
    (row,) = tiny_pipeline.encode(job, TWO, [0])
    run(tiny_pipeline, row)
    picture = tiny_pipeline.decode(row)
    assert picture.size == (32, 48)
    assert np.abs(np.asarray(picture, dtype=int) - expected).max() <= 1
    assert np.asarray(picture).std() > 1, "a picture of one colour would compare equal to anything black"


@pytest.mark.parametrize("steps", [1, 51, 150])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler_takes_every_number_of_steps(tiny_pipeline: Any, scheduler: str, steps: int) -> None:
    import torch

    from sdxl_runtime.schedulers import Sampler, make

    made = make(scheduler, tiny_pipeline.scheduler_config, steps)
    sampler = Sampler.from_noise(made, torch.Generator().manual_seed(0), (4, 2, 2), torch.device("cpu"))
    taken = 0
    while not sampler.done:
        sampler.advance(sampler.model_input())
        taken += 1
    assert taken == steps
    assert sampler.latents.dtype == torch.float32
    assert bool(torch.isfinite(sampler.latents).all())


def test_the_schedulers_are_those_of_the_protocol() -> None:
    from sdxl_runtime import protocol, schedulers

    assert schedulers.NAMES == protocol.SCHEDULERS == SCHEDULERS


def test_a_rows_latents_do_not_depend_on_its_mates(tiny_pipeline: Any) -> None:
    """Bit for bit: alone, or among rows at other steps, with other prompts, guidance and schedulers, at any place."""
    (alone,) = tiny_pipeline.encode(a_job(steps=6), FOUR, [0])
    (expected,) = run(tiny_pipeline, alone, bucket=FOUR)
    (row,) = tiny_pipeline.encode(a_job(steps=6), FOUR, [0])
    mates = [
        tiny_pipeline.encode(a_job("blue", seed=9, steps=3, guidance_scale=1.0), FOUR, [0])[0],
        tiny_pipeline.encode(a_job("an", steps=9, scheduler="EulerAncestral"), FOUR, [2])[0],
        tiny_pipeline.encode(a_job("", negative_prompt=None, steps=2, scheduler="UniPC"), FOUR, [0])[0],
    ]
    tiny_pipeline.step(FOUR, mates[1:])
    latents = run(tiny_pipeline, mates[0], mates[1], row, mates[2], bucket=FOUR)
    assert latents[2].equal(expected)


def test_a_picture_of_many_is_the_one_its_seed_paints_alone(tiny_pipeline: Any) -> None:
    of_many = run(tiny_pipeline, *tiny_pipeline.encode(a_job(n=2, seed=7), TWO, range(2)))
    (alone,) = run(tiny_pipeline, *tiny_pipeline.encode(a_job(n=1, seed=8), TWO, [0]))
    assert of_many[1].equal(alone)
    assert not of_many[0].equal(alone)


def test_guidance_and_negative_prompt_change_the_picture(tiny_pipeline: Any) -> None:
    variants = [
        {},
        {"guidance_scale": 9.0},
        {"negative_prompt": None},
        {"negative_prompt": ""},
        {"guidance_scale": 0.5},
    ]
    latents = [run(tiny_pipeline, *tiny_pipeline.encode(a_job(**variant), TWO, [0]))[0] for variant in variants]
    for index, one in enumerate(latents):
        assert not any(one.equal(other) for other in latents[index + 1 :])


def test_a_buckets_own_graph_is_used_once_it_is_set(tiny_pipeline: Any) -> None:
    import torch

    shapes: list[list[tuple[int, ...]]] = []

    def graph(*inputs: torch.Tensor) -> torch.Tensor:
        shapes.append([tuple(value.shape) for value in inputs])
        return torch.zeros_like(inputs[0])

    tiny_pipeline.graphs[TWO.key] = graph
    try:
        run(tiny_pipeline, *tiny_pipeline.encode(a_job(steps=1), TWO, [0]))
    finally:
        del tiny_pipeline.graphs[TWO.key]
    assert shapes == [[(4, 4, 24, 16), (4,), (4, 77, 64), (4, 32), (4, 6)]]


def test_unconditional_rows_come_before_conditional_ones(tiny_pipeline: Any) -> None:
    import torch

    seen: list[torch.Tensor] = []

    def graph(*inputs: torch.Tensor) -> torch.Tensor:
        seen.extend(inputs)
        return torch.zeros_like(inputs[0])

    tiny_pipeline.graphs[TWO.key] = graph
    try:
        run(tiny_pipeline, *tiny_pipeline.encode(a_job(negative_prompt=None, steps=1), TWO, [0]))
    finally:
        del tiny_pipeline.graphs[TWO.key]
    _, _, hidden_states, pooled, time_ids = seen
    assert not hidden_states[:2].any(), "force_zeros_for_empty_prompt"
    assert not pooled[:2].any()
    assert hidden_states[2:].any()
    assert time_ids[3].tolist() == [48, 32, 0, 0, 48, 32]


def test_inputs_for_measuring_fit_the_graph_and_repeat(tiny_pipeline: Any) -> None:
    inputs = tiny_pipeline.unet_inputs(FOUR, 3)
    assert [tuple(value.shape) for value in inputs] == [(8, 4, 24, 16), (8,), (8, 77, 64), (8, 32), (8, 6)]
    assert all(a.equal(b) for a, b in zip(inputs, tiny_pipeline.unet_inputs(FOUR, 3), strict=True))
    output = tiny_pipeline.device.eager(tiny_pipeline.unet)(*inputs)
    assert tuple(output.shape) == (8, 4, 24, 16)
    assert bool(output.isfinite().all())


def test_denoising_with_a_graph_gives_the_latents_of_its_prompts(tiny_pipeline: Any) -> None:
    eager = tiny_pipeline.device.eager(tiny_pipeline.unet)
    latents = tiny_pipeline.denoise(
        eager,
        TWO,
        [a_job(text, negative_prompt=None, steps=3, seed=7 + i) for i, text in enumerate(("a red circle", "blue"))],
    )
    assert tuple(latents.shape) == (2, 4, 24, 16)
    (row,) = tiny_pipeline.encode(a_job(negative_prompt=None, steps=3), TWO, [0])
    assert latents[:1].equal(run(tiny_pipeline, row)[0])
    assert TWO.key not in tiny_pipeline.graphs


def test_tokens_are_counted_with_start_and_end(tiny_pipeline: Any) -> None:
    assert tiny_pipeline.count_tokens("") == 2
    assert tiny_pipeline.count_tokens("red red red") == 5
    assert tiny_pipeline.count_tokens("é😀" * 200) > 77


def test_sizes_are_multiples_of_what_vae_and_unet_divide_by(tiny_pipeline: Any) -> None:
    assert tiny_pipeline.size_multiple == 2 * 4
    assert tiny_pipeline.latent_size(Bucket(32, 48)) == (24, 16)


@pytest.fixture
def broken_model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def failure(folder: Path, cpu: Any, **changes: Any) -> Failure:
    from sdxl_runtime.pipeline.loading import load

    with pytest.raises(Failure) as error:
        load(Settings(model_path=folder, **changes), cpu)
    return error.value


def test_a_model_that_is_not_there_is_missing(tmp_path: Path, cpu: Any) -> None:
    assert failure(tmp_path, cpu).reason is Reason.MODEL_MISSING


def test_weights_of_another_shape_are_invalid(broken_model: Path, cpu: Any) -> None:
    config = broken_model / "unet" / "config.json"
    content = json.loads(config.read_text())
    content["block_out_channels"] = [4, 8, 16]
    config.write_text(json.dumps(content))
    error = failure(broken_model, cpu)
    assert error.reason is Reason.MODEL_INVALID
    assert str(broken_model) in error.message


def test_damaged_weights_are_invalid(broken_model: Path, cpu: Any) -> None:
    (broken_model / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"damaged")
    assert failure(broken_model, cpu).reason is Reason.MODEL_INVALID


def test_a_unet_for_inpainting_is_refused_with_its_channels(broken_model: Path, cpu: Any) -> None:
    from diffusers import UNet2DConditionModel

    config = {**json.loads((broken_model / "unet" / "config.json").read_text()), "in_channels": 9}
    UNet2DConditionModel.from_config(config).save_pretrained(broken_model / "unet")
    error = failure(broken_model, cpu)
    assert error.reason is Reason.MODEL_INVALID
    assert "takes 9 channels" in error.message


def test_a_precision_the_device_lacks_is_a_wrong_setting(tiny_model: Path, cpu: Any) -> None:
    from sdxl_runtime.pipeline.loading import load

    with pytest.raises(SettingsError, match="SDXL_PRECISION"):
        load(Settings(model_path=tiny_model, precision=Precision.FP16), cpu)


def test_in_bf16_noise_and_samplers_stay_in_fp32(tiny_model: Path, cpu: Any) -> None:
    import torch

    from sdxl_runtime.pipeline.loading import load

    pipeline = load(Settings(model_path=tiny_model, precision=Precision.BF16), cpu)
    (row,) = pipeline.encode(a_job(steps=2), TWO, [0])
    noise = torch.randn((1, 4, 24, 16), generator=torch.Generator("cpu").manual_seed(7))
    assert row.sampler.latents.equal(noise * row.sampler.scheduler.init_noise_sigma)
    (latents,) = run(pipeline, row)
    assert latents.dtype == torch.float32
    assert pipeline.unet.dtype == torch.bfloat16
    assert pipeline.vae.model.dtype == torch.float32
    assert pipeline.decode(row).size == (32, 48)
