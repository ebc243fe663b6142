"""Trains the demo model: `python -m sdxl_runtime.demo_model.train text|vae|unet|all|pixel|refiner --out DIR`.

Any stage can be stopped and started again; it goes on from its last checkpoint in DIR.
"""

from __future__ import annotations

import argparse
import os
import socket
from pathlib import Path

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

MINUTES = {"text": 2.2, "vae": 16.5, "unet": 27.0, "pixel": 20.0, "refiner": 18.0}
"""How long each stage trains unless told otherwise; what the committed weights were given."""

BASE = ("text", "vae", "unet")
"""The stages of "all". The others build on assembled weights: those that are committed here."""


def main() -> None:
    """Parse the arguments and run the stages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=(*MINUTES, "all"))
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, logs and weights")
    parser.add_argument("--minutes", type=float, help="how long the stage trains")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each that train together")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for stage in BASE if options.stage == "all" else (options.stage,):
        workers = 1 if stage == "text" else options.workers
        arguments = (workers, _free_port(), stage, options.out, options.minutes or MINUTES[stage], options.seed)
        spawn(_work, arguments, nprocs=workers)  # type: ignore[no-untyped-call]


def _free_port() -> int:
    """A port that nobody listens at, for the processes of one stage to meet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _work(rank: int, workers: int, port: int, stage: str, out: Path, minutes: float, seed: int) -> None:
    """Run one stage in one process; one thread, because two threads on a busy machine wait for each other."""
    torch.set_num_threads(1)
    if workers > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        dist.init_process_group("gloo", rank=rank, world_size=workers)
    # Only the stage that runs is imported: each brings much of diffusers or transformers with it.
    if stage == "text":
        from sdxl_runtime.demo_model.stages.text import train_text as run
    elif stage == "vae":
        from sdxl_runtime.demo_model.stages.vae import train_vae as run
    elif stage == "unet":
        from sdxl_runtime.demo_model.stages.unet import train_unet as run
    elif stage == "pixel":
        from sdxl_runtime.demo_model.stages.pixel import train_pixel as run
    else:
        from sdxl_runtime.demo_model.stages.refiner import train_refiner as run
    run(out, minutes, seed * 1000 + rank, rank == 0)


if __name__ == "__main__":
    main()
