"""The model of the settings onto a device, checked before and after."""

from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from sdxl_runtime.device import Device
from sdxl_runtime.layout import check
from sdxl_runtime.pipeline import Pipeline
from sdxl_runtime.settings import Settings
from sdxl_runtime.termination import Failure, Reason


def load(settings: Settings, device: Device) -> Pipeline:
    """Load the model of `settings.model_path`, with its refiner and adapters, onto a device.

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
        pipeline = Pipeline(settings, device, dtype)
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
