"""LitServe with batching, as https://lightning.ai/docs/litserve/features/batching shows:
`python -m benchmarks.peers.litserve_server FOLDER SIZE PORT`.

A batch is what came within the wait, up to the maximum; requests that are not alike run one group after the other.
"""

import sys
from pathlib import Path
from typing import Any

import litserve

from benchmarks.peers.painting import (
    BATCH_WAIT_SECONDS,
    MAXIMUM_BATCH,
    Asked,
    answer,
    load,
    paint_grouped,
    warm_up,
)


class ImagesAPI(litserve.LitAPI):  # type: ignore[misc]
    """Decode, batch, paint, unbatch, encode."""

    def __init__(self, folder: Path, size: int, **options: Any) -> None:
        super().__init__(**options)
        self._folder = folder
        self._size = size

    def setup(self, device: str) -> None:
        """In the worker's process."""
        self.pipeline = load(self._folder)
        warm_up(self.pipeline, self._size)

    def decode_request(self, request: dict[str, Any]) -> Asked:
        """Of one request."""
        return Asked.from_json(request)

    def batch(self, inputs: list[Asked]) -> list[Asked]:
        """Requests stay as they are: the pipeline takes lists."""
        return list(inputs)

    def predict(self, batch: list[Asked]) -> list[bytes]:
        """A PNG for each."""
        return paint_grouped(self.pipeline, batch)

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        """One for each request."""
        return output

    def encode_response(self, output: bytes) -> dict[str, Any]:
        """Of one request."""
        return answer(output)


def main(folder: Path, size: int, port: int) -> None:
    """Serve until the process is ended."""
    api = ImagesAPI(
        folder,
        size,
        max_batch_size=MAXIMUM_BATCH,
        batch_timeout=BATCH_WAIT_SECONDS,
        api_path="/v1/images/generations",
    )
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=False)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
