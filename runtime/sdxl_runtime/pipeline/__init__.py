"""SDXL in stages on diffusers' components: encode the prompt, denoise a step, preview, decode a picture.

The step loop is the engine's, not diffusers': rows of one evaluation may be at different steps, with different guidance
and schedulers. Formulas are those of diffusers 0.42's SDXL pipelines, which the tests compare with.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from numpy.typing import NDArray
from PIL import Image

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.device import Device, Graph
from sdxl_runtime.jobs import Adapter, Job
from sdxl_runtime.pipeline import conditioning
from sdxl_runtime.pipeline.adapters import Adapters
from sdxl_runtime.pipeline.autoencoder import Autoencoder
from sdxl_runtime.pipeline.conditioning import Conditioning
from sdxl_runtime.pipeline.refiner import Refiner
from sdxl_runtime.pipeline.text import TextEncoders
from sdxl_runtime.schedulers import Sampler, make, timesteps_above
from sdxl_runtime.settings import CompileMode, Settings


@dataclass(slots=True)
class Row:
    """One picture on its way."""

    conditioning: Conditioning
    guidance_scale: float
    sampler: Sampler
    refinement: "Refinement | None" = None
    """What is to come of the refiner; None once it is at work, or where there is none."""
    refining: bool = False

    @property
    def done(self) -> bool:
        """Whether it is ready to be decoded."""
        return self.sampler.done


@dataclass(frozen=True, slots=True)
class Refinement:
    """How a row changes over: after `leave` timesteps of the base model, to the refiner's timestep `first`."""

    conditioning: Conditioning
    scheduler: Any
    leave: int
    first: int


class Pipeline:
    """The model on one device. One thread uses it; only `count_tokens` may be called from any."""

    def __init__(self, settings: Settings, device: Device, dtype: torch.dtype) -> None:
        folder = settings.model_path
        self.device = device
        self.dtype = dtype
        index = json.loads((folder / "model_index.json").read_bytes())
        self._zero_empty_prompt = bool(index.get("force_zeros_for_empty_prompt", True))
        self.scheduler_config = json.loads((folder / "scheduler" / "scheduler_config.json").read_bytes())
        weights = _weights(settings.model_variant)
        self.text = TextEncoders(folder, weights, device.torch_device, dtype)
        unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=dtype, **weights)
        self.unet: Any = unet.eval().requires_grad_(False).to(device.torch_device)
        self.vae = Autoencoder(folder, weights, device.torch_device)
        self.graphs: dict[str, Graph] = {}
        """The graph of a bucket by its key; a bucket that is not here runs eagerly."""
        self._eager = device.eager(self.unet)
        self._refiner: Refiner | None = None
        if settings.refiner_path is not None:
            self._refiner = Refiner(
                settings.refiner_path,
                _weights(settings.refiner_variant),
                settings.refiner_start_percent,
                device.torch_device,
                dtype,
            )
            self._refine = device.eager(self._refiner.unet)
        encoders = dict(zip(("text_encoder", "text_encoder_2"), self.text.encoders, strict=True))
        files = {adapter.name: (adapter.path, adapter.maximum_rank) for adapter in settings.adapters}
        self._adapters = Adapters(files, {"unet": self.unet, **encoders})

    @property
    def adapters(self) -> Sequence[str]:
        """The names of the LoRAs that a job may use."""
        return self._adapters.names

    @property
    def refines(self) -> bool:
        """Whether there is a refiner."""
        return self._refiner is not None

    @property
    def plain(self) -> str:
        """A bucket without an entry of the bank runs eagerly."""
        return CompileMode.EAGER.value

    def bind(self, bucket: Bucket, folder: Path) -> str:
        """Run a bucket with what was compiled for it."""
        self.graphs[bucket.key] = self.device.load(self.unet, bucket, folder)
        return CompileMode.AHEAD_OF_TIME.value

    def release(self, bucket: Bucket) -> None:
        """Run a bucket eagerly again."""
        self.graphs.pop(bucket.key, None)

    @property
    def size_multiple(self) -> int:
        """Width and height must be multiples of this many pixels: VAE factor × 2^(UNet levels − 1)."""
        return self.vae.factor * int(2 ** (len(self.unet.config.block_out_channels) - 1))

    def latent_size(self, bucket: Bucket) -> tuple[int, int]:
        """Height and width of a bucket's latents."""
        return bucket.height // self.vae.factor, bucket.width // self.vae.factor

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, with its start and its end, by the tokenizer that needs more."""
        return self.text.count(text)

    def synchronise(self) -> None:
        """Wait until everything that was started has finished."""
        self.device.synchronise()

    def compilations(self) -> int:
        """Graphs compiled in this process so far."""
        return self.device.compilations()

    def use(self, adapters: tuple[Adapter, ...]) -> None:
        """Merge these adapters, and no others, into the weights."""
        if self._adapters.use(adapters):
            self.text.forget()

    def text_adapters(self, adapters: tuple[Adapter, ...]) -> tuple[Adapter, ...]:
        """Those of some adapters that change a text encoder."""
        return self._adapters.touching_text(adapters)

    @torch.inference_mode()
    def encode(self, job: Job, bucket: Bucket, indices: Sequence[int]) -> list[Row]:
        """The rows of some pictures of a job: their text once, each its own noise and sampler."""
        told = conditioning.of_base(job, bucket, self.text, self._zero_empty_prompt)
        rows = [Row(told, job.guidance_scale, self._sampler(job, bucket, index)) for index in indices]
        if self._refiner is not None and job.refine:
            refined = conditioning.of_refiner(job, bucket, self.text, self._refiner)
            percent = self._refiner.start_percent
            for row in rows:
                scheduler = make(job.scheduler, self._refiner.scheduler_config, job.steps)
                leave, first = timesteps_above(row.sampler.scheduler, percent), timesteps_above(scheduler, percent)
                row.refinement = Refinement(refined, scheduler, leave, first)
                _change_over(row)
        return rows

    def _sampler(self, job: Job, bucket: Bucket, index: int) -> Sampler:
        generator = torch.Generator("cpu").manual_seed(job.seed_of(index))
        scheduler = make(job.scheduler, self.scheduler_config, job.steps)
        height, width = self.latent_size(bucket)
        if job.start is None:
            shape = (int(self.unet.config.in_channels), height, width)
            return Sampler.from_noise(scheduler, generator, shape, self.device.torch_device)
        image = self.vae.encode(job.start.image, generator)
        mask = None if job.start.mask is None else self.vae.mask(job.start.mask)
        return Sampler.from_image(scheduler, generator, image, job.steps_taken, mask)

    @torch.inference_mode()
    def step(self, bucket: Bucket, rows: Sequence[Row]) -> None:
        """One UNet evaluation at the bucket's full batch, and each row advanced by it; rows are at most the batch."""
        graph = self._refine if rows[0].refining else self.graphs.get(bucket.key, self._eager)
        prediction = graph(*self._inputs(bucket, rows))
        unconditional, conditional = prediction.float().chunk(2)
        for index, row in enumerate(rows):
            guided = conditional[index : index + 1]
            if row.guidance_scale > 1:  # as in diffusers: up to 1 the prompt alone counts
                base = unconditional[index : index + 1]
                guided = base + row.guidance_scale * (guided - base)
            row.sampler.advance(guided)
            _change_over(row)

    @torch.inference_mode()
    def preview(self, row: Row) -> Image.Image:
        """What a row that took a step would become, softly, at the bucket's size."""
        denoised = row.sampler.denoised
        return self.vae.preview(row.sampler.latents if denoised is None else denoised)

    @torch.inference_mode()
    def decode(self, row: Row) -> Image.Image:
        """The picture of a row that is done."""
        return self.vae.decode(row.sampler.latents)

    def latents(self, row: Row) -> NDArray[np.float32]:
        """What a row that is done would be decoded from: `[4,h,w]`."""
        found: NDArray[np.float32] = row.sampler.latents[0].float().cpu().numpy()
        return found

    def denoise(self, graph: Graph, bucket: Bucket, jobs: Sequence[Job]) -> torch.Tensor:
        """The final latents `[B,4,h,w]` fp32 of B jobs of one picture and equal steps, with one graph."""
        before = self.graphs.get(bucket.key)
        self.graphs[bucket.key] = graph
        try:
            rows = [row for job in jobs for row in self.encode(job, bucket, [0])]
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

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator).to(self.device.torch_device, self.dtype)

        size = (bucket.height, bucket.width)
        time_ids = torch.tensor([[*size, 0, 0, *size]], dtype=self.dtype, device=self.device.torch_device)
        return (
            normal(count, int(config.in_channels), *self.latent_size(bucket)),
            torch.full((count,), 500.0, device=self.device.torch_device),
            normal(count, bucket.prompt_tokens, int(config.cross_attention_dim)),
            normal(count, self.text.projection),
            time_ids.repeat(count, 1),
        )

    def _inputs(self, bucket: Bucket, rows: Sequence[Row]) -> tuple[torch.Tensor, ...]:
        """The graph's inputs; rows nobody uses repeat the first one, so that every value is a usual one."""
        filled = [*rows, *[rows[0]] * (bucket.batch - len(rows))]
        sample = torch.cat([row.sampler.model_input() for row in filled]).to(self.dtype)
        timestep = torch.tensor([row.sampler.timestep for row in filled], device=self.device.torch_device)

        def both(name: str) -> torch.Tensor:
            return torch.stack([getattr(row.conditioning, name) for row in filled], dim=1).flatten(0, 1)

        conditions = both("hidden_states"), both("pooled"), both("time_ids")
        return torch.cat([sample, sample]), torch.cat([timestep, timestep]), *conditions


def _change_over(row: Row) -> None:
    """Give a row to the refiner once the base model's part of the schedule is over; an edit may begin beyond it."""
    to_come = row.refinement
    if to_come is not None and row.sampler.index >= to_come.leave:
        row.sampler.refine(to_come.scheduler, to_come.first + row.sampler.index - to_come.leave)
        row.conditioning, row.refinement, row.refining = to_come.conditioning, None, True


def _weights(variant: str) -> dict[str, Any]:
    return {"variant": variant or None, "use_safetensors": True, "local_files_only": True}
