"""Final latents of every scheduler against diffusers' own `StableDiffusionXLPipeline`, eager and compiled.

With the demo model, a trained one: latents of random weights do not have the size that a difference is judged by.
"""

from pathlib import Path
from typing import Any

import sdxl_runtime.demo_model
from benchmarks import bank
from benchmarks.context import Context, say
from benchmarks.figures import Figure, Must
from sdxl_runtime.bench.schedule import PROMPTS
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.health import Health
from sdxl_runtime.jobs import Job
from sdxl_runtime.loading import load_painter
from sdxl_runtime.protocol import SCHEDULERS
from sdxl_runtime.settings import CompileMode, Precision, Settings

NAMES = ("latents against diffusers, every scheduler",)
_MUST = Must("<=", 1e-4)
_BUCKET = Bucket(64, 64)
_VARIANT = "fp16"
"""Of the files; they are read into fp32."""
_STEPS, _SEEDS = 20, 4


def measure(context: Context) -> list[Figure]:
    """The largest absolute difference of any scheduler, batch 1, fp32, eager; the compiled graph's is reported."""
    model = Path(sdxl_runtime.demo_model.__file__).parent / "weights"
    eager = Settings(
        model_path=model,
        model_variant=_VARIANT,
        buckets=(_BUCKET,),
        precision=Precision.FP32,
        compile_mode=CompileMode.EAGER,
    )
    reference = _diffusers(model)
    found = {"eager": _differences(eager, reference)}
    if context.bank:
        banked = bank.fill(context.root, model, (_BUCKET,), _VARIANT)
        compiled = Settings(
            model_path=model,
            model_variant=_VARIANT,
            buckets=(_BUCKET,),
            compile_mode=CompileMode.AHEAD_OF_TIME,
            bank_path=banked.path,
            bank_accepted=banked.accepted,
        )
        found["compiled"] = _differences(compiled, reference)
    about = {"steps": _STEPS, "seeds": _SEEDS, "bucket": _BUCKET.key, "byScheduler": found}
    return [Figure(NAMES[0], max(found["eager"].values()), "largest absolute difference", _MUST, about)]


def _differences(settings: Settings, reference: Any) -> dict[str, float]:
    """By scheduler."""
    from sdxl_runtime import schedulers

    health = Health(settings.buckets)
    painter: Any = load_painter(settings, health)
    say(f"latents: {health.backend(_BUCKET)}")
    found = {}
    for scheduler in SCHEDULERS:
        reference.scheduler = schedulers.make(scheduler, painter.scheduler_config, _STEPS)
        found[scheduler] = max(_difference(painter, reference, scheduler, seed) for seed in range(_SEEDS))
    return found


def _difference(painter: Any, reference: Any, scheduler: str, seed: int) -> float:
    import torch

    prompt = PROMPTS[seed % len(PROMPTS)]
    job = Job(prompt, None, (_BUCKET,), 1, seed, _STEPS, 5.0, scheduler)
    (row,) = painter.encode(job, _BUCKET, [0])
    while not row.done:
        painter.step(_BUCKET, [row])
    wanted = reference(
        prompt,
        width=_BUCKET.width,
        height=_BUCKET.height,
        num_inference_steps=_STEPS,
        guidance_scale=5.0,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="latent",
    ).images
    difference = float((row.sampler.latents - wanted).abs().max())
    return float(f"{difference:.3g}")


def _diffusers(model: Path) -> Any:
    import torch
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(model, variant=_VARIANT, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
