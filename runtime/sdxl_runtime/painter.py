"""What paints, as the engine sees it: `pipeline.Pipeline`, or a simulated one that needs no torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.jobs import Adapter, Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


class Row(Protocol):
    """One picture on the device."""

    @property
    def done(self) -> bool:
        """Whether it is ready to be decoded."""

    @property
    def refining(self) -> bool:
        """Whether its next step is the refiner's."""


class Painter(Protocol):
    """The stages of a picture on the device. One thread calls it; only `count_tokens` may be called from any."""

    @property
    def adapters(self) -> Sequence[str]:
        """The names of the LoRAs that a job may use."""

    @property
    def plain(self) -> str:
        """How `/readyz` calls it that a bucket runs without an entry of the bank."""

    def bind(self, bucket: Bucket, folder: Path) -> str:
        """Run a bucket with a verified entry of the bank from now on; returns how `/readyz` calls that.

        No adapter may be in use, and no row may be on its way: all weights may be laid out anew.
        """

    def release(self, bucket: Bucket) -> None:
        """Run a bucket without its entry again."""

    @property
    def refines(self) -> bool:
        """Whether there is a refiner."""

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, with its start and its end; may be called from any thread."""

    def use(self, adapters: tuple[Adapter, ...]) -> None:
        """Merge these adapters, and no others, into the weights; at once where they are merged already."""

    def text_adapters(self, adapters: tuple[Adapter, ...]) -> tuple[Adapter, ...]:
        """Those of some adapters that change a text encoder."""

    def encode(self, job: Job, bucket: Bucket, indices: Sequence[int]) -> list[Any]:
        """The rows of some pictures of a job, each a `Row`; of the job's adapters, its text adapters are in use."""

    def step(self, bucket: Bucket, rows: Sequence[Any]) -> None:
        """One evaluation at the bucket's full batch, all rows the refiner's or none; each advances by a step."""

    def preview(self, row: Any) -> "Image":
        """What a row that took a step would become, cheaply, at the bucket's size."""

    def decode(self, row: Any) -> "Image":
        """The picture of a row that is done."""

    def latents(self, row: Any) -> "NDArray[np.float32]":
        """What a row that is done would be decoded from: `[4,h,w]`."""

    def synchronise(self) -> None:
        """Wait until everything that was started has finished."""

    def compilations(self) -> int:
        """Graphs compiled in this process so far: after ready it must not grow."""
