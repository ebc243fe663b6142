"""The VAE: pictures to latents and back, and a preview of latents that costs next to nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from diffusers import AutoencoderKL
from PIL import Image

_PATCHES = 12
"""The preview is fitted on this many × this many patches of one colour each, two latents wide."""


class Autoencoder:
    """The VAE on one device, in fp32: SDXL's overflows in half precision, which paints black pictures."""

    def __init__(self, folder: Path, weights: Mapping[str, Any], device: torch.device) -> None:
        model = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32, **weights)
        # weights so laid out save a CPU's convolutions a sixth: without it each one reorders its input and output
        layout = torch.channels_last if device.type == "cpu" else torch.contiguous_format
        self.model: Any = model.eval().requires_grad_(False).to(device, memory_format=layout)
        self._device = device
        self._colours, self._ground = self._fit_preview()

    @property
    def factor(self) -> int:
        """Pixels of a picture's side per latent."""
        return int(2 ** (len(self.model.config.block_out_channels) - 1))

    def encode(self, image: Image.Image, generator: torch.Generator) -> torch.Tensor:
        """Latents `[1,4,h,w]` fp32 of an RGB picture, drawn from the posterior with the generator."""
        latents: torch.Tensor = self.model.encode(self._pixels(image)).latent_dist.sample(generator)
        config = self.model.config
        mean, deviation = self._moments(latents)
        scaled: torch.Tensor = (latents - mean) * config.scaling_factor / deviation
        return scaled

    def mask(self, mask: Image.Image) -> torch.Tensor:
        """`[1,1,h,w]` fp32 of a mask of the picture's size: 1 where it is painted anew, 0 where it is kept."""
        size = mask.width // self.factor, mask.height // self.factor
        values = numpy.asarray(mask.convert("L").resize(size, Image.Resampling.NEAREST)) >= 128
        return torch.from_numpy(values.astype(numpy.float32))[None, None].to(self._device)

    def decode(self, latents: torch.Tensor) -> Image.Image:
        """The picture of latents `[1,4,h,w]`."""
        pixels = self.model.decode(self._unscaled(latents), return_dict=False)[0][0]
        return _image(pixels.permute(1, 2, 0))

    def preview(self, latents: torch.Tensor) -> Image.Image:
        """A soft picture of latents `[1,4,h,w]` at full size: each latent's colour by a linear map."""
        flat = self._unscaled(latents)[0].permute(1, 2, 0)
        small = _image(flat @ self._colours + self._ground)
        return small.resize((small.width * self.factor, small.height * self.factor), Image.Resampling.BICUBIC)

    def _unscaled(self, latents: torch.Tensor) -> torch.Tensor:
        mean, deviation = self._moments(latents)
        unscaled: torch.Tensor = latents.float() * deviation / self.model.config.scaling_factor + mean
        return unscaled

    def _moments(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation by channel, where the configuration has them: `[1,C,1,1]`."""
        config = self.model.config
        mean, deviation = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        if mean is None or deviation is None:
            return torch.zeros((), device=like.device), torch.ones((), device=like.device)
        return _channels(mean, like), _channels(deviation, like)

    def _pixels(self, image: Image.Image) -> torch.Tensor:
        values = torch.from_numpy(numpy.asarray(image.convert("RGB"), dtype=numpy.float32) / 127.5 - 1)
        return values.permute(2, 0, 1).unsqueeze(0).to(self._device)

    @torch.inference_mode()
    def _fit_preview(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The linear map latents → colour `[C,3]` and `[3]` that fits best, by least squares over patches of colour."""
        colours = numpy.random.default_rng(0).integers(0, 256, (_PATCHES, _PATCHES, 3), dtype=numpy.uint8)
        side = 2 * self.factor
        image = Image.fromarray(colours.repeat(side, axis=0).repeat(side, axis=1))
        latents = self.model.encode(self._pixels(image)).latent_dist.mode()[0].permute(1, 2, 0)
        wanted = torch.from_numpy(colours.repeat(2, axis=0).repeat(2, axis=1)).float() / 127.5 - 1
        known = torch.cat([latents.cpu(), torch.ones(*latents.shape[:2], 1)], dim=-1).flatten(0, 1)
        solution = torch.linalg.lstsq(known.double(), wanted.flatten(0, 1).double()).solution.float()
        solution = solution.to(self._device)
        return solution[:-1], solution[-1]


def _image(pixels: torch.Tensor) -> Image.Image:
    """A picture from values `[h,w,3]` of −1 to 1."""
    values = ((pixels / 2 + 0.5).clamp(0, 1).cpu() * 255).round().to(torch.uint8)
    return Image.fromarray(values.numpy())


def _channels(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32, device=like.device).view(1, -1, 1, 1)
