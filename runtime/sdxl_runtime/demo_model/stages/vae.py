"""Stage "vae": 8 by 8 pixels to one latent of four channels, and back, with the colours they had."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from sdxl_runtime.demo_model.recipe import LATENT_CHANNELS, new_vae
from sdxl_runtime.demo_model.scenes import PALETTE, SHAPES, draw_mask
from sdxl_runtime.demo_model.stages.loop import Loop, averaged_weights, half_precision

_SIDE = 128
_MASKS = 3000
_CROPS = ((32, 32), (64, 8), (128, 2))
"""Side in pixels and number of pictures of a batch: always the same number of pixels, so the same cost."""

_CROP_CHANCES = (0.4, 0.4, 0.2)
_DRAWN = (*SHAPES, "star")
"""Stars twice as often: they are the hardest."""

_LATENT_NOISE = 0.05
_FIXED_LOG_VARIANCE = -4.0


def train_vae(out: Path, minutes: float, seed: int, first_rank: bool = True) -> None:
    """Train the VAE; leaves `vae.pt` in `out`."""
    torch.manual_seed(0)
    vae = new_vae()
    _start_nearly_linear(vae)
    _fix_variance(vae)
    vae = vae.to(memory_format=torch.channels_last)
    torch.manual_seed(seed)
    pictures = Pictures(seed)
    loop = Loop("vae", vae, out, minutes, 2e-3, first_rank=first_rank)
    for _ in loop.steps():
        target, mask = pictures.batch()
        with half_precision():
            latents = vae.encode(target).latent_dist.mean
            noisy = latents + _LATENT_NOISE * latents.detach().std() * torch.randn_like(latents)
            seen = vae.decode(noisy).sample
        error = ((seen.float() - target).abs().mean(1) * _weights(mask)).mean()
        loop.descend(error + 1e-4 * latents.float().square().mean())


def load_vae(out: Path) -> AutoencoderKL:
    """The trained VAE of `out`, without latent statistics."""
    vae = new_vae()
    vae.load_state_dict(averaged_weights("vae", out))
    return vae.eval()


class Pictures:
    """Batches of pictures from masks drawn beforehand: drawing each anew would cost more than the training step."""

    def __init__(self, seed: int) -> None:
        """Draw the masks: shapes of any size and place that the scenes have, and a little more."""
        self.rng = np.random.default_rng(seed)
        draw = random.Random(seed)
        self.masks = np.empty((_MASKS, _SIDE, _SIDE), np.uint8)
        self.middles = np.empty((_MASKS, 2), np.int64)
        for i in range(_MASKS):
            x, y, radius = draw.uniform(24, 104), draw.uniform(24, 104), draw.uniform(15, 31)
            self.masks[i] = np.asarray(draw_mask(_DRAWN[i % len(_DRAWN)], x, y, radius, _SIDE, _SIDE))
            self.middles[i] = y, x
        self.palette = np.array(list(PALETTE.values()), np.float32)

    def batch(self) -> tuple[Tensor, Tensor]:
        """Pictures (n, 3, side, side) in -1 to 1, and how much of each pixel is object (n, side, side) in 0 to 1."""
        side, count = _CROPS[self.rng.choice(3, p=_CROP_CHANCES)]
        chosen = self.rng.integers(0, _MASKS, count)
        masks = np.stack([self._crop(i, side) for i in chosen])
        mask = torch.from_numpy(masks).float() / 255
        ink, ground = torch.from_numpy(self._colours(count))[..., None, None].unbind(1)
        return ground + mask[:, None] * (ink - ground), mask

    def _crop(self, index: int, side: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
        """A square of the mask near the object, on the grid of latents or off it."""
        corner = self.middles[index] + self.rng.integers(-24, 25, 2) - side // 2
        top, left = np.clip(corner, 0, _SIDE - side)
        cut: np.ndarray[tuple[int, int], np.dtype[np.uint8]] = self.masks[index, top : top + side, left : left + side]
        return cut

    def _colours(self, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """Object's and background's colour, (count, 2, 3) in -1 to 1: of the palette, and sometimes any."""
        pairs = np.stack([self.rng.permutation(len(self.palette))[:2] for _ in range(count)])
        colours = self.palette[pairs]
        anything = self.rng.random((count, 2, 1)) < 0.15
        colours = np.where(anything, self.rng.uniform(0, 255, colours.shape), colours)
        return np.asarray(colours / 127.5 - 1, np.float32)


def _weights(mask: Tensor) -> Tensor:
    """Weights (n, h, w) that let object and background count alike, however small the object is."""
    share = mask.mean((1, 2), keepdim=True).clamp(0.02, 0.98)
    return 0.5 * (mask / share + (1 - mask) / (1 - share))


def _start_nearly_linear(vae: AutoencoderKL) -> None:
    """Start with residual branches that add nothing and a trunk that keeps the variance.

    The trunk has no normalisation but at its ends; with PyTorch's defaults the biases soon outweigh the picture.
    """
    for name, module in vae.named_modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is not None
            nn.init.zeros_(module.bias)
            if name.endswith("conv2"):
                nn.init.zeros_(module.weight)
            else:
                nn.init.orthogonal_(module.weight)


def _fix_variance(vae: AutoencoderKL) -> None:
    """Give the posterior a constant variance: nothing here trains it, and image-to-image samples from it."""
    with torch.no_grad():
        for tensor, value in ((vae.quant_conv.weight, 0.0), (vae.quant_conv.bias, _FIXED_LOG_VARIANCE)):
            tensor[LATENT_CHANNELS:] = value


def set_statistics(vae: AutoencoderKL, latents: Tensor) -> None:
    """Write the mean and deviation of each channel of `latents` (n, 4, h, w) into the VAE's configuration."""
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    assert math.isfinite(float(deviation.sum()))
    vae.register_to_config(latents_mean=mean.tolist(), latents_std=deviation.tolist())
