"""What differs between accelerators, behind one protocol; `open_device` imports only the one that is asked for."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.settings import Backend, Precision, Settings

if TYPE_CHECKING:
    import torch

Graph = Callable[..., "torch.Tensor"]
"""One UNet evaluation of a bucket with B images; rows 0..B-1 are unconditional, B..2B-1 conditional:
`(sample [2B,4,h,w], timestep [2B], encoder_hidden_states [2B,T,C], text_embeds [2B,P], time_ids [2B,6]) -> [2B,4,h,w]`,
h and w being the picture's size divided by the VAE's factor."""


class Device(Protocol):
    """An accelerator as the engine sees it. One thread owns it."""

    backend: Backend
    torch_device: "torch.device"

    def dtype(self, precision: Precision) -> "torch.dtype":
        """The format the UNet runs in.

        Raises:
            SettingsError: this device cannot run that precision; the message names the ones it can.
        """

    def facts(self) -> Mapping[str, str]:
        """What a compiled artefact depends on here (chip, driver, instruction set, versions): part of the identity."""

    def synchronise(self) -> None:
        """Wait until everything that was started has finished."""

    def compilations(self) -> int:
        """Graphs compiled in this process so far; 0 where nothing ever compiles."""

    def eager(self, unet: Any) -> Graph:
        """The UNet as diffusers runs it, in the signature of `Graph`."""

    def compile(
        self,
        unet: Any,
        bucket: Bucket,
        inputs: "tuple[torch.Tensor, ...]",
        folder: Path,
        progress: Callable[[str], None],
    ) -> None:
        """Compile the UNet for one bucket into files in `folder`, weights left outside; may lay them out anew.

        `inputs` are the graph's, in its order and with the bucket's shapes; `progress` is told each stage.
        """

    def load(self, unet: Any, bucket: Bucket, folder: Path) -> Graph:
        """What `compile` wrote, bound to this UNet's own weights (shared by all buckets); may lay them out anew."""


def open_device(settings: Settings) -> Device:
    """The device of the settings' backend.

    Raises:
        RuntimeError: its driver or library is not here.
    """
    module = import_module(f"sdxl_runtime.device.{settings.backend.name.lower()}")
    device: Device = module.open_device(settings)
    return device
