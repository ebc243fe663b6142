"""Draws the loss of each stage: `python -m sdxl_runtime.demo_model.curve OUT loss.png`."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

STAGES = {
    "text": "text encoders: cross-entropy over 3 heads x 5 attributes",
    "vae": "VAE: weighted L1, pixels in -1 to 1",
    "unet": "UNet: weighted squared error of v",
    "pixel": "LoRA: weighted squared error of v",
    "refiner": "refiner: weighted squared error of v",
}


def read(file: Path) -> list[tuple[int, float]]:
    """Step and loss (mean of 25 steps) of each line; a step repeated after a restart counts as it was last."""
    with file.open(newline="") as lines:
        return sorted({int(step): float(loss) for step, _, loss in csv.reader(lines)}.items())


def plot(out: Path, picture: Path) -> None:
    """Draw the curves of the stages that `out` has logs of next to each other, losses on a logarithmic scale."""
    stages = {stage: title for stage, title in STAGES.items() if (out / f"{stage}.csv").exists()}
    figure, axes = plt.subplots(1, len(stages), figsize=(3.7 * len(stages), 3), dpi=80, squeeze=False)
    for axis, (stage, title) in zip(axes[0], stages.items(), strict=True):
        steps, losses = zip(*read(out / f"{stage}.csv"), strict=True)
        axis.semilogy(steps, losses, linewidth=1)
        axis.set_title(title, fontsize=8)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(picture)


def main() -> None:
    """Parse the arguments and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder that training has written")
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    plot(options.out, options.picture)


if __name__ == "__main__":
    main()
