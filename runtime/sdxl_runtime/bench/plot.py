"""A run as a picture: when requests came and how long they took, and the distribution of that."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sdxl_runtime.bench.record import Record
from sdxl_runtime.bench.summary import Summary


class PlotUnavailable(Exception):
    """matplotlib is not installed."""


def require() -> Any:
    """matplotlib's pyplot, drawing into files.

    Raises:
        PlotUnavailable: it is not installed; the message says what to do.
    """
    try:
        import matplotlib
    except ImportError:
        raise PlotUnavailable(
            "--plot needs matplotlib, which is not installed; `pip install matplotlib`, or leave --plot out"
        ) from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as pyplot

    return pyplot


def write(path: Path, title: str, records: Sequence[Record], summary: Summary) -> None:
    """Draw into a file, whose ending says the format.

    Raises:
        PlotUnavailable: matplotlib is not installed.
    """
    pyplot = require()
    figure, (over_time, distribution) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    groups = (
        ("completed", "tab:blue", [record for record in records if record.ok]),
        ("rejected", "tab:orange", [record for record in records if record.rejected]),
        ("failed", "tab:red", [record for record in records if not record.ok and not record.rejected]),
    )
    for name, colour, group in groups:
        if group:
            over_time.scatter([r.due for r in group], [r.latency for r in group], s=12, color=colour, label=name)
    over_time.set(xlabel="sent, seconds from the start", ylabel="latency, seconds", ylim=(0, None))
    over_time.legend(frameon=False)
    latencies = sorted(record.latency for record in records if record.ok)
    shares = [100 * (rank + 1) / len(latencies) for rank in range(len(latencies))]
    distribution.step(latencies, shares, where="post", color="tab:blue")
    if summary.deadline is not None:
        distribution.axvline(summary.deadline, color="grey", linestyle="--", linewidth=1)
    distribution.set(xlabel="latency, seconds", ylabel="% of completed requests", xlim=(0, None), ylim=(0, 100))
    figure.suptitle(f"{title}: {summary.images_per_second:.3f} images/s")
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
