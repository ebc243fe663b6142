"""What a UNet is told about one picture: text, pooled text, and SDXL's micro-conditioning. Row 0 is unconditional."""

from dataclasses import dataclass

import torch

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.jobs import Job
from sdxl_runtime.pipeline.refiner import AESTHETIC_SCORE, NEGATIVE_AESTHETIC_SCORE, Refiner
from sdxl_runtime.pipeline.text import Encoded, TextEncoders


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What the UNet is told about one picture: row 0 unconditional, row 1 conditional."""

    hidden_states: torch.Tensor
    """`[2,T,C]`"""
    pooled: torch.Tensor
    """`[2,P]`"""
    time_ids: torch.Tensor
    """`[2,6]`: original height and width, crop top and left, target height and width; a refiner that is told the
    aesthetic score has `[2,5]`, the score last"""


def of_base(job: Job, bucket: Bucket, text: TextEncoders, zero_empty: bool) -> Conditioning:
    """For the base model, as `StableDiffusionXLPipeline.encode_prompt` and `_get_add_time_ids`."""
    hidden, pooled = _prompts(job, bucket, text, zero_empty)
    own = (bucket.height, bucket.width)
    micro = job.micro
    told = (*(micro.original_size or own), *micro.crop, *(micro.target_size or own))
    negative = told
    if micro.negative_original_size is not None and micro.negative_target_size is not None:
        negative = (*micro.negative_original_size, *micro.negative_crop, *micro.negative_target_size)
    return Conditioning(hidden, pooled, torch.tensor([negative, told], dtype=hidden.dtype, device=hidden.device))


def of_refiner(job: Job, bucket: Bucket, text: TextEncoders, refiner: Refiner) -> Conditioning:
    """For the refiner, as `StableDiffusionXLImg2ImgPipeline`: the second encoder's part of the hidden states."""
    hidden, pooled = _prompts(job, bucket, text, refiner.zero_empty_prompt)
    own = (bucket.height, bucket.width)
    told = [*(job.micro.original_size or own), *job.micro.crop]
    if refiner.told_score:
        rows = [[*told, NEGATIVE_AESTHETIC_SCORE], [*told, AESTHETIC_SCORE]]
    else:
        rows = [[*told, *(job.micro.target_size or own)]] * 2
    time_ids = torch.tensor(rows, dtype=hidden.dtype, device=hidden.device)
    return Conditioning(hidden[..., -text.width :].contiguous(), pooled, time_ids)


def _prompts(job: Job, bucket: Bucket, text: TextEncoders, zero_empty: bool) -> Encoded:
    hidden, pooled = text.encode(job.prompt, job.prompt_2, bucket.prompt_tokens)
    if job.negative_prompt is None and job.negative_prompt_2 is None and zero_empty:
        negative, negative_pooled = torch.zeros_like(hidden), torch.zeros_like(pooled)
    else:
        negative, negative_pooled = text.encode(job.negative_prompt or "", job.negative_prompt_2, bucket.prompt_tokens)
    return torch.cat([negative, hidden]), torch.cat([negative_pooled, pooled])
