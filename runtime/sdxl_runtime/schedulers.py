"""Samplers by name, made from the model's own scheduler configuration. One object per picture: a sampler has state."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


def make(name: str, config: Mapping[str, Any]) -> Any:
    """The diffusers scheduler of that name with the model's noise schedule, prediction type and spacing.

    Raises:
        KeyError: no scheduler has that name.
    """
    cls, overrides = _CLASSES[name]
    known = inspect.signature(cls.__init__).parameters
    return cls(**{key: value for key, value in {**config, **overrides}.items() if key in known and key != "self"})


@dataclass(slots=True)
class Sampler:
    """One picture's way from noise to latents, in fp32; `latents` is `[1,4,h,w]` where the UNet runs."""

    latents: torch.Tensor
    generator: torch.Generator
    scheduler: Any
    index: int = 0

    @classmethod
    def start(
        cls,
        name: str,
        config: Mapping[str, Any],
        steps: int,
        seed: int,
        shape: tuple[int, int, int],
        device: torch.device,
    ) -> "Sampler":
        """Draw the noise `[1,*shape]` and set the timesteps.

        The noise comes from an fp32 CPU generator, as with diffusers' `generator=torch.Generator("cpu")`: the seed
        means the same picture on every device and in every precision.
        """
        scheduler = make(name, config)
        if name == "LCM":
            # Its timesteps are a subset of the 50 it was distilled with; more steps need a finer original grid.
            scheduler.set_timesteps(steps, original_inference_steps=max(steps, _LCM_ORIGINAL_STEPS))
        else:
            scheduler.set_timesteps(steps)
        generator = torch.Generator("cpu").manual_seed(seed)
        noise = torch.randn((1, *shape), generator=generator, dtype=torch.float32)
        if hasattr(scheduler, "set_begin_index"):  # DDIM and others without state have none
            scheduler.set_begin_index(0)
        return cls((noise * scheduler.init_noise_sigma).to(device), generator, scheduler)

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
        step: Callable[..., Any] = self.scheduler.step
        timestep = self.scheduler.timesteps[self.index]
        noise = {"generator": self.generator} if "generator" in inspect.signature(step).parameters else {}
        self.latents = step(prediction, timestep, self.latents, return_dict=False, **noise)[0]
        self.index += 1
