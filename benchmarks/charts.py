"""The plots of docs/benchmarks.md, each from one figure of the results; no plot without its figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.parts import concurrent, memory, poisson, solo
from benchmarks.systems import OURS

JSON = Mapping[str, Any]

PLOTS = (
    ("solo", "Seconds of one picture, alone", solo.NAMES[0]),
    ("concurrent", "Images per second, eight requests at any time", concurrent.NAMES[0]),
    ("poisson", "Images per second and mean latency, Poisson arrivals of a mix", poisson.NAMES[0]),
    ("memory", "Resident memory over requests", memory.NAMES[0]),
)
"""File, title, figure."""
_OURS, _OTHERS = "tab:blue", "tab:grey"


def found(results: JSON, name: str) -> JSON | None:
    """A figure by its name; None where it is not there or has no value."""
    return next((f for f in results["figures"] if f["name"] == name and f["value"] is not None), None)


def draw(results: JSON, folder: Path) -> list[Path]:
    """A file for each plot whose figure is there."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, title, figure_name in PLOTS:
        figure = found(results, figure_name)
        if figure is not None:
            path = folder / f"{name}.png"
            _DRAWN[name](figure["peers"], title, path)
            written.append(path)
    return written


def _solo(peers: JSON, title: str, path: Path) -> None:
    _bars(peers, [("medianSeconds", "seconds, median")], title, path)


def _concurrent(peers: JSON, title: str, path: Path) -> None:
    _bars(peers, [("imagesPerSecond", "images per second, median of rounds")], title, path)


def _poisson(peers: JSON, title: str, path: Path) -> None:
    members = [("imagesPerSecond", "images per second"), ("meanLatencySeconds", "mean latency, seconds")]
    _bars(peers, members, title, path)


def _bars(peers: JSON, members: list[tuple[str, str]], title: str, path: Path) -> None:
    """A panel for each member, a bar for each system that has it."""
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        1, len(members), figsize=(5 * len(members), 3.2), layout="constrained", squeeze=False
    )
    for panel, (member, label) in zip(panels[0], members, strict=True):
        values = {name: peer[member] for name, peer in peers.items() if isinstance(peer, Mapping) and member in peer}
        colours = [_OURS if name == OURS else _OTHERS for name in values]
        bars = panel.barh(list(values), list(values.values()), color=colours)
        panel.bar_label(bars, fmt="%.3g", padding=3)
        panel.invert_yaxis()
        panel.set_xlabel(label)
        panel.margins(x=0.15)
    _save(figure, title, path)


def _memory(peers: JSON, title: str, path: Path) -> None:
    from matplotlib import pyplot

    samples = [(int(count), size) for count, size in peers["residentMiB"].items()]
    figure, panel = pyplot.subplots(figsize=(6, 3.2), layout="constrained")
    panel.plot(*zip(*samples, strict=True), color=_OURS)
    panel.set(xlabel="requests answered", ylabel="MiB", ylim=(0, None))
    _save(figure, title, path)


def _save(figure: Any, title: str, path: Path) -> None:
    from matplotlib import pyplot

    figure.suptitle(title)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


_DRAWN = {"solo": _solo, "concurrent": _concurrent, "poisson": _poisson, "memory": _memory}
