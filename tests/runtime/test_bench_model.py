"""The shape of the model that is measured. Its weights are random, so nothing about pictures is tested."""

import pytest

pytestmark = pytest.mark.torch


def test_the_unet_has_about_50_million_parameters_and_sdxls_blocks() -> None:
    import torch

    from benchmarks import model

    with torch.device("meta"):
        unet = model.unet()
    assert sum(parameter.numel() for parameter in unet.parameters()) == pytest.approx(50e6, rel=0.06)
    config = unet.config
    assert config.down_block_types == ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
    assert config.addition_embed_type == "text_time"
    assert config.sample_size == 32
    widths = zip(config.block_out_channels, config.attention_head_dim, strict=True)
    assert all(width // heads == 64 for width, heads in widths)


def test_the_vae_has_sdxls_factor_and_scaling() -> None:
    import torch

    from benchmarks import model

    with torch.device("meta"):
        vae = model.vae()
    assert 2 ** (len(vae.config.block_out_channels) - 1) == 8
    assert (vae.config.latent_channels, vae.config.scaling_factor) == (4, 0.13025)
