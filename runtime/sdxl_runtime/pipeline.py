"""SDXL in three stages on diffusers' components: encode the prompt, denoise a step, decode a picture.

The step loop is the engine's, not diffusers': rows of one evaluation may be at different steps, with different guidance
and schedulers. Formulas are those of `diffusers.StableDiffusionXLPipeline` 0.42, which the tests compare with.
"""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from PIL import Image
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.device import Device, Graph
from sdxl_runtime.jobs import Job
from sdxl_runtime.layout import check
from sdxl_runtime.schedulers import Sampler
from sdxl_runtime.settings import Settings
from sdxl_runtime.termination import Failure, Reason


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What the UNet is told about one picture: row 0 unconditional, row 1 conditional."""

    hidden_states: torch.Tensor
    """`[2,T,C]`"""
    pooled: torch.Tensor
    """`[2,P]`"""
    time_ids: torch.Tensor
    """`[2,6]`: original height and width, crop top and left, target height and width"""


@dataclass(slots=True)
class Row:
    """One picture on its way."""

    conditioning: Conditioning
    guidance_scale: float
    sampler: Sampler

    @property
    def done(self) -> bool:
        """Whether it is ready to be decoded."""
        return self.sampler.done


class Pipeline:
    """The model on one device. One thread uses it; only `count_tokens` may be called from any."""

    def __init__(self, folder: Path, variant: str, device: Device, dtype: torch.dtype) -> None:
        self.device = device
        self.dtype = dtype
        index = json.loads((folder / "model_index.json").read_bytes())
        self._zero_empty_prompt = bool(index.get("force_zeros_for_empty_prompt", True))
        self.scheduler_config = json.loads((folder / "scheduler" / "scheduler_config.json").read_bytes())
        weights = {"variant": variant or None, "use_safetensors": True, "local_files_only": True}
        self._tokenizers = tuple(
            CLIPTokenizer.from_pretrained(folder / name, local_files_only=True) for name in ("tokenizer", "tokenizer_2")
        )
        self._tokenizing = threading.Lock()
        self._text_encoders = tuple(
            _place(cls.from_pretrained(folder / name, dtype=dtype, **weights), device.torch_device)
            for cls, name in ((CLIPTextModel, "text_encoder"), (CLIPTextModelWithProjection, "text_encoder_2"))
        )
        self.unet = _place(
            UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=dtype, **weights), device.torch_device
        )
        # SDXL's VAE overflows in half precision (black pictures), so it always runs in fp32.
        self.vae = _place(
            AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32, **weights), device.torch_device
        )
        self.graphs: dict[str, Graph] = {}
        """The graph of a bucket by its key; a bucket that is not here runs eagerly."""
        self._eager = device.eager(self.unet)

    @property
    def token_limit(self) -> int:
        """Tokens of a prompt, with its start and its end."""
        return int(min(tokenizer.model_max_length for tokenizer in self._tokenizers))

    @property
    def size_multiple(self) -> int:
        """Width and height must be multiples of this many pixels: VAE factor × 2^(UNet levels − 1)."""
        return self._vae_factor * int(2 ** (len(self.unet.config.block_out_channels) - 1))

    @property
    def _vae_factor(self) -> int:
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def latent_size(self, bucket: Bucket) -> tuple[int, int]:
        """Height and width of a bucket's latents."""
        return bucket.height // self._vae_factor, bucket.width // self._vae_factor

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, with its start and its end, by the tokenizer that needs more."""
        with self._tokenizing:  # a fast tokenizer refuses two threads at once ("Already borrowed")
            return max(len(tokenizer(text, verbose=False).input_ids) for tokenizer in self._tokenizers)

    def synchronise(self) -> None:
        """Wait until everything that was started has finished."""
        self.device.synchronise()

    @torch.inference_mode()
    def encode(self, job: Job, indices: Sequence[int]) -> list[Row]:
        """The rows of some pictures of a job: their text once, each its own noise and sampler."""
        conditioning = self._condition(job)
        shape = (int(self.unet.config.in_channels), *self.latent_size(job.bucket))
        return [
            Row(
                conditioning,
                job.guidance_scale,
                Sampler.start(
                    job.scheduler, self.scheduler_config, job.steps, job.seed_of(i), shape, self.device.torch_device
                ),
            )
            for i in indices
        ]

    @torch.inference_mode()
    def step(self, bucket: Bucket, rows: Sequence[Row]) -> None:
        """One UNet evaluation at the bucket's full batch, and each row advanced by it; rows are at most the batch."""
        prediction = self._graph(bucket)(*self._inputs(bucket, rows))
        unconditional, conditional = prediction.float().chunk(2)
        for index, row in enumerate(rows):
            guided = conditional[index : index + 1]
            if row.guidance_scale > 1:  # as in diffusers: up to 1 the prompt alone counts
                base = unconditional[index : index + 1]
                guided = base + row.guidance_scale * (guided - base)
            row.sampler.advance(guided)

    @torch.inference_mode()
    def decode(self, row: Row) -> Image.Image:
        """The picture of a row that is done."""
        config = self.vae.config
        latents = row.sampler.latents.float()
        mean, deviation = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        if mean is not None and deviation is not None:
            latents = latents * _channels(deviation, latents) / config.scaling_factor + _channels(mean, latents)
        else:
            latents = latents / config.scaling_factor
        pixels = self.vae.decode(latents, return_dict=False)[0][0]
        pixels = ((pixels / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).cpu() * 255).round().to(torch.uint8)
        return Image.fromarray(pixels.numpy())

    def denoise(
        self,
        graph: Graph,
        bucket: Bucket,
        prompts: Sequence[str],
        seed: int,
        steps: int,
        guidance_scale: float,
    ) -> torch.Tensor:
        """The final latents `[B,4,h,w]` fp32 of B prompts with one graph, for comparing graphs; image i has seed + i.

        Uses Euler. `prompts` is one text per image of the bucket's batch.
        """
        before = self.graphs.get(bucket.key)
        self.graphs[bucket.key] = graph
        try:
            rows = []
            for index, prompt in enumerate(prompts):
                job = Job(prompt, None, bucket, 1, seed + index, steps, guidance_scale, "Euler")
                rows += self.encode(job, [0])
            while not rows[0].done:
                self.step(bucket, rows)
        finally:
            self.graphs.pop(bucket.key)
            if before is not None:
                self.graphs[bucket.key] = before
        return torch.cat([row.sampler.latents for row in rows])

    def unet_inputs(self, bucket: Bucket, seed: int) -> tuple[torch.Tensor, ...]:
        """Random but valid inputs of the bucket's graph, in its order: for measuring and for export."""
        count = 2 * bucket.batch
        generator = torch.Generator("cpu").manual_seed(seed)
        config = self.unet.config
        pooled = int(self._text_encoders[1].config.projection_dim)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator).to(self.device.torch_device, self.dtype)

        return (
            normal(count, int(config.in_channels), *self.latent_size(bucket)),
            torch.full((count,), 500.0, device=self.device.torch_device),
            normal(count, self.token_limit, int(config.cross_attention_dim)),
            normal(count, pooled),
            self._time_ids(bucket).repeat(count, 1),
        )

    def _graph(self, bucket: Bucket) -> Graph:
        return self.graphs.get(bucket.key, self._eager)

    def _time_ids(self, bucket: Bucket) -> torch.Tensor:
        size = [bucket.height, bucket.width]
        return torch.tensor([[*size, 0, 0, *size]], dtype=self.dtype, device=self.device.torch_device)

    def _inputs(self, bucket: Bucket, rows: Sequence[Row]) -> tuple[torch.Tensor, ...]:
        """The graph's inputs; rows nobody uses repeat the first one, so that every value is a usual one."""
        filled = [*rows, *[rows[0]] * (bucket.batch - len(rows))]
        sample = torch.cat([row.sampler.model_input() for row in filled]).to(self.dtype)
        timestep = torch.tensor([row.sampler.timestep for row in filled], device=self.device.torch_device)

        def both(name: str) -> torch.Tensor:
            return torch.stack([getattr(row.conditioning, name) for row in filled], dim=1).flatten(0, 1)

        conditions = both("hidden_states"), both("pooled"), both("time_ids")
        return torch.cat([sample, sample]), torch.cat([timestep, timestep]), *conditions

    def _condition(self, job: Job) -> Conditioning:
        hidden, pooled = self._encode_text(job.prompt)
        if job.negative_prompt is None and self._zero_empty_prompt:
            negative_hidden, negative_pooled = torch.zeros_like(hidden), torch.zeros_like(pooled)
        else:
            negative_hidden, negative_pooled = self._encode_text(job.negative_prompt or "")
        return Conditioning(
            torch.cat([negative_hidden, hidden]),
            torch.cat([negative_pooled, pooled]),
            self._time_ids(job.bucket).repeat(2, 1),
        )

    def _encode_text(self, text: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Penultimate hidden states of both encoders `[1,T,C]` and the second one's projection `[1,P]`."""
        hidden, pooled = [], torch.empty(0)
        for tokenizer, encoder in zip(self._tokenizers, self._text_encoders, strict=True):
            with self._tokenizing:
                tokens = tokenizer(
                    text, padding="max_length", max_length=self.token_limit, truncation=True, return_tensors="pt"
                )
            output = encoder(tokens.input_ids.to(self.device.torch_device), output_hidden_states=True)
            hidden.append(output.hidden_states[-2])
            pooled = output[0]
        return torch.cat(hidden, dim=-1).to(self.dtype), pooled.to(self.dtype)


def load(settings: Settings, device: Device) -> Pipeline:
    """Load the model of `settings.model_path` onto a device.

    Raises:
        Failure: `ModelMissing` or `ModelInvalid`; the message names the file or the property that is wrong.
        SettingsError: the device cannot run the precision.
    """
    folder = settings.model_path
    check(folder, settings.model_variant)
    dtype = device.dtype(settings.precision)
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        pipeline = Pipeline(folder, settings.model_variant, device, dtype)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(Reason.MODEL_INVALID, f"the model in {folder} cannot be loaded: {error}") from error
    config = pipeline.unet.config
    if config.in_channels != 4 or config.time_cond_proj_dim is not None:
        raise Failure(
            Reason.MODEL_INVALID,
            f"the UNet in {folder} takes {config.in_channels} channels and time_cond_proj_dim "
            f"{config.time_cond_proj_dim}; this runtime serves text-to-image UNets with 4 channels and none",
        )
    return pipeline


def _place(module: Any, device: torch.device) -> Any:
    return module.eval().requires_grad_(False).to(device)


def _channels(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, -1, 1, 1)
