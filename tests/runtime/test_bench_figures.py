"""What `make bench-runtime` makes of what it measured; nothing is measured here."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from benchmarks import charts, figures, page, runtime
from benchmarks.context import BUCKETS, SIZE
from benchmarks.figures import Figure, Must, Results
from benchmarks.parts import bits, poisson, preview
from benchmarks.systems import LITSERVE, OURS, RAY
from sdxl_runtime.bench.record import Record
from sdxl_runtime.bench.summary import Summary, summarise


@pytest.mark.parametrize(
    ("must", "value", "met"),
    [
        (Must("<=", 1.05), 1.05, True),
        (Must("<=", 1.05), 1.06, False),
        (Must("<", 0.05), 0.05, False),
        (Must(">=", 1.6), 1.6, True),
        (Must(">=", 1.6), 1.59, False),
        (Must("==", 0), 0, True),
        (Must("==", 0), 1, False),
    ],
)
def test_a_bound_is_met_or_not(must: Must, value: float, met: bool) -> None:
    assert Figure("x", value, "s", must).met is met


def test_a_figure_without_a_value_is_neither_met_nor_missed() -> None:
    assert Figure("x", None, "s", Must("<", 1), note="nothing was rejected").to_json()["met"] is None


def test_every_number_of_the_table_has_a_figure_of_its_own() -> None:
    names = [name for part in runtime.PARTS.values() for name in part.NAMES]
    assert len(names) == len(set(names)) == 12


def test_results_have_the_agreed_members_and_figures_that_were_not_measured_again_stay(tmp_path: Path) -> None:
    first = Results("runtime", "first", tmp_path)
    first.add([Figure("a", 1.0, "s", Must("<=", 2), {"peer": 3}), Figure("b", 5.0, "s", Must("<=", 2))])
    second = Results("runtime", "second", tmp_path)
    second.keep(["a"])
    second.add([Figure("b", 1.5, "s", Must("<=", 2))])
    content: dict[str, Any] = json.loads((tmp_path / "runtime.json").read_text())
    assert set(content) == {"machine", "versions", "date", "command", "figures"}
    by_name = {figure["name"]: figure for figure in content["figures"]}
    assert by_name["a"]["measured"]["command"] == "first"
    assert (by_name["b"]["value"], by_name["b"]["met"]) == (1.5, True)
    assert "measured" not in by_name["b"]
    assert {"name", "value", "unit", "must", "met", "peers"} <= set(by_name["b"])


def test_a_part_that_fails_leaves_no_figure(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(context: object) -> list[Figure]:
        raise RuntimeError("the server ended")

    assert runtime._figures("solo", fail, ("x",), None) == []  # type: ignore[arg-type]
    assert "solo failed: the server ended" in capsys.readouterr().err


def test_the_table_shows_what_is_missed() -> None:
    shown = [Figure("a", 2.0, "s", Must("<=", 1)).to_json(), Figure("b", None, "s", Must("<=", 1)).to_json()]
    lines = runtime.table(shown).splitlines()
    assert "MISSED" in lines[1]
    assert "not measured" in lines[2]


def a_round(images_per_second: float, latency: float) -> Summary:
    """Ten pictures at a rate; each took `latency` seconds."""
    ends = [10 * (i + 1) / 10 / images_per_second for i in range(10)]
    first = Record(0, 0.0, latency, 200, images=1)
    return summarise([first, *(Record(i, end - latency, end, 200, images=1) for i, end in enumerate(ends[1:], 1))])


def test_the_better_peer_counts_for_each_figure_of_the_mix() -> None:
    found = {
        OURS: [a_round(2.0, 1.0), a_round(2.0, 1.0)],
        LITSERVE: [a_round(1.6, 4.0), a_round(1.6, 4.0)],
        RAY: [a_round(1.0, 1.25), a_round(1.0, 1.25)],
    }
    throughput, latency = poisson.figures(found, {})
    assert throughput.peers["better"] == LITSERVE
    assert throughput.value == pytest.approx(
        found[OURS][0].images_per_second / found[LITSERVE][0].images_per_second, 1e-3
    )
    assert latency.peers["better"] == RAY
    assert latency.value == pytest.approx(0.8)
    assert latency.met is False


def test_the_mix_has_requests_that_are_alike() -> None:
    mix = poisson.mixed(1)
    assert mix.steps is not None
    assert mix.steps.values == (8, 16, 32)
    assert mix.guidances is not None
    assert mix.guidances.values == tuple(float(value) for value in range(1, 10))


def progress(at: float, step: int) -> preview.Event:
    return at, {"type": "image_generation.progress", "step": step}


@pytest.mark.parametrize("preview_at", [2.04, 1.99])
def test_a_preview_is_of_the_step_whose_progress_is_nearest(preview_at: float) -> None:
    told = [progress(1.0, 1), progress(2.0, 2), progress(3.0, 3)]
    events = sorted([*told, (preview_at, {"type": "image_generation.partial_image"})], key=lambda event: event[0])
    assert preview.first_preview(events) == (2, preview_at)


def test_a_stream_without_previews_is_no_measurement() -> None:
    with pytest.raises(RuntimeError, match="no preview"):
        preview.first_preview([progress(1.0, 1)])


def test_drawn_requests_are_pinned_to_one_bucket_and_differ() -> None:
    chance = random.Random(1)
    jobs = [bits.draw(chance, BUCKETS[1:], seed) for seed in range(200)]
    assert all(len(job.buckets) == 1 for job in jobs)
    assert {job.buckets[0] for job in jobs} == set(BUCKETS[1:])
    assert len({job.scheduler for job in jobs}) == 7
    assert len({job.steps for job in jobs}) == 7


def test_the_buckets_are_of_the_size_that_gives_latents_of_32() -> None:
    assert SIZE // 8 == 32
    assert [bucket.batch for bucket in BUCKETS] == [1, 2, 4, 8]


RESULTS = {
    "machine": {"processors": 2, "chip": "a chip", "memoryGiB": 8.0, "loadAverageBefore": 0.1},
    "versions": {"torch": "2.12"},
    "date": "2026-01-01T00:00+00:00",
    "command": "python -m benchmarks.runtime",
    "figures": [
        Figure(
            poisson.NAMES[0],
            1.4,
            "times",
            Must(">=", 1.3),
            {
                OURS: {"imagesPerSecond": 0.5, "meanLatencySeconds": 3.0},
                RAY: {"imagesPerSecond": 0.3, "meanLatencySeconds": 9.0, "oursPerThis": {"imagesPerSecond": 1.4}},
                "ratePerSecond": 0.4,
            },
        ).to_json(),
        Figure("missed one", 3.0, "s", Must("<", 1), note="the disk was full").to_json(),
    ],
}


def test_the_page_tells_every_figure_with_what_it_was_compared_with() -> None:
    text = page.replaced(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n", page.section(RESULTS))
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert f"| {poisson.NAMES[0]} | >= 1.3 | 1.4 times | met |" in text
    assert "| missed one | < 1 | 3 s | **missed** |" in text
    assert "The disk was full." in text
    assert "- Ray Serve: imagesPerSecond 0.3, meanLatencySeconds 9, oursPerThis imagesPerSecond 1.4" in text
    assert "pictures/benchmarks/poisson.png" in text
    assert "solo.png" not in text


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks"):
        page.replaced("no marks", "x")


def test_plots_are_drawn_for_the_figures_that_are_there(tmp_path: Path) -> None:
    (path,) = charts.draw(RESULTS, tmp_path)
    assert path.name == "poisson.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_committed_page_is_what_the_results_say() -> None:
    assert page.main(["--check"]) == 0
    text = page.PAGE.read_text()
    for name, (begin, end) in page.MARKS.items():
        told = text.partition(begin)[2].partition(end)[0].strip()
        # before the first run there is nothing to tell
        assert bool(told) == (figures.RESULTS / f"{name}.json").is_file()
