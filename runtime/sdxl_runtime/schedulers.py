"""Samplers by name, made from the model's own scheduler configuration. One object per picture: a sampler has state."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)

_UNCLIPPED = {"clip_sample": False, "set_alpha_to_one": False}  # SDXL's latents are not bounded by 1
_CLASSES: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "Euler": (EulerDiscreteScheduler, {}),
    "EulerAncestral": (EulerAncestralDiscreteScheduler, {}),
    "DPM++2M": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "use_karras_sigmas": False}),
    "DPM++2MKarras": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True}),
    "DDIM": (DDIMScheduler, _UNCLIPPED),
    "UniPC": (UniPCMultistepScheduler, {}),
    "LCM": (LCMScheduler, _UNCLIPPED),
}
NAMES = tuple(_CLASSES)
_LCM_ORIGINAL_STEPS = 50


def make(name: str, config: Mapping[str, Any], steps: int) -> Any:
    """The diffusers scheduler of that name with the model's noise schedule, prediction type, spacing, and timesteps.

    Raises:
        KeyError: no scheduler has that name.
    """
    cls, overrides = _CLASSES[name]
    known = inspect.signature(cls.__init__).parameters
    scheduler = cls(**{key: value for key, value in {**config, **overrides}.items() if key in known and key != "self"})
    if name == "LCM":
        # Its timesteps are a subset of the 50 it was distilled with; more steps need a finer original grid.
        scheduler.set_timesteps(steps, original_inference_steps=max(steps, _LCM_ORIGINAL_STEPS))
    else:
        scheduler.set_timesteps(steps)
    return scheduler


@dataclass(frozen=True, slots=True)
class Kept:
    """The part of a picture that inpainting keeps: where `mask` `[1,1,h,w]` is 0, the image's latents stay."""

    latents: torch.Tensor
    noise: torch.Tensor
    mask: torch.Tensor


@dataclass(slots=True)
class Sampler:
    """One picture's way from noise to latents, in fp32; `latents` is `[1,4,h,w]` where the UNet runs.

    Noise comes from an fp32 CPU generator, as with diffusers' `generator=torch.Generator("cpu")`: a seed means the same
    picture on every device and in every precision.
    """

    latents: torch.Tensor
    generator: torch.Generator
    scheduler: Any
    index: int = 0
    """Of the next timestep."""
    kept: Kept | None = None
    denoised: torch.Tensor | None = None
    """What the last evaluation thought the latents would become without noise."""

    @classmethod
    def from_noise(
        cls,
        scheduler: Any,
        generator: torch.Generator,
        shape: tuple[int, int, int],
        device: torch.device,
    ) -> "Sampler":
        """Begin with noise `[1,*shape]`; `scheduler` has its timesteps."""
        _begin_at(scheduler, 0)
        noise = _noise((1, *shape), generator)
        return cls((noise * scheduler.init_noise_sigma).to(device), generator, scheduler)

    @classmethod
    def from_image(
        cls,
        scheduler: Any,
        generator: torch.Generator,
        image: torch.Tensor,
        steps_taken: int,
        mask: torch.Tensor | None = None,
    ) -> "Sampler":
        """Begin with an image's latents `[1,4,h,w]` and the noise of the last `steps_taken` timesteps.

        As `StableDiffusionXLImg2ImgPipeline`, and with a mask as `StableDiffusionXLInpaintPipeline` does for a UNet
        of 4 channels.
        """
        first = len(scheduler.timesteps) - steps_taken
        _begin_at(scheduler, first)
        noise = _noise(tuple(image.shape), generator).to(image.device)
        if mask is None:
            latents = scheduler.add_noise(image, noise, scheduler.timesteps[first : first + 1])
            return cls(latents, generator, scheduler, first)
        # NB: diffusers also encodes the masked image, which a UNet of 4 channels never sees, with the same generator
        _noise(tuple(image.shape), generator)
        if first == 0:
            latents = noise * scheduler.init_noise_sigma
        else:
            latents = scheduler.add_noise(image, noise, scheduler.timesteps[first : first + 1])
        return cls(latents, generator, scheduler, first, Kept(image, noise, mask))

    def refine(self, scheduler: Any, first: int) -> None:
        """Go on with another model's scheduler from its timestep `first` on, its history empty."""
        _begin_at(scheduler, first)
        self.scheduler, self.index = scheduler, first

    @property
    def done(self) -> bool:
        """Whether every timestep was taken."""
        return self.index >= len(self.scheduler.timesteps)

    @property
    def timestep(self) -> float:
        """The timestep of the next evaluation, on the scale of training."""
        return float(self.scheduler.timesteps[self.index])

    def model_input(self) -> torch.Tensor:
        """What the UNet sees next, `[1,4,h,w]` fp32."""
        scaled: torch.Tensor = self.scheduler.scale_model_input(self.latents, self.scheduler.timesteps[self.index])
        return scaled

    def advance(self, prediction: torch.Tensor) -> None:
        """Take one step with the guided prediction `[1,4,h,w]` fp32."""
        timesteps = self.scheduler.timesteps
        noise = {"generator": self.generator} if _is_random(type(self.scheduler).step) else {}
        output = self.scheduler.step(prediction, timesteps[self.index], self.latents, **noise)
        self.latents, self.denoised = output.prev_sample, _denoised(output, self.scheduler)
        self.index += 1
        if self.kept is not None:
            self._keep(self.kept)

    def _keep(self, kept: Kept) -> None:
        image = kept.latents
        if not self.done:
            image = self.scheduler.add_noise(image, kept.noise, self.scheduler.timesteps[self.index : self.index + 1])
        self.latents = (1 - kept.mask) * image + kept.mask * self.latents


def timesteps_above(scheduler: Any, percent: int) -> int:
    """How many timesteps lie in the first `percent` of the noise schedule.

    As diffusers counts `denoising_end` and `denoising_start`: by the timestep's place among the trained ones.
    """
    trained = scheduler.config.num_train_timesteps
    cutoff = round(trained - percent / 100 * trained)
    return int((scheduler.timesteps >= cutoff).sum())


def _noise(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float32)


def _begin_at(scheduler: Any, index: int) -> None:
    if hasattr(scheduler, "set_begin_index"):  # DDIM and others without state have none
        scheduler.set_begin_index(index)


@cache
def _is_random(step: Callable[..., Any]) -> bool:
    return "generator" in inspect.signature(step).parameters


def _denoised(output: Any, scheduler: Any) -> torch.Tensor:
    for name in ("pred_original_sample", "denoised"):
        value: torch.Tensor | None = getattr(output, name, None)
        if value is not None:
            return value
    latest: torch.Tensor = scheduler.model_outputs[-1]  # the multistep solvers predict it
    return latest
