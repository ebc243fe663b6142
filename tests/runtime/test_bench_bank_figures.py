"""What `make bench-bank` makes of what it measured; nothing is measured here."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import tune_bank
from benchmarks.banking import cluster, downtime, rollouts
from benchmarks.figures import Figure, Must, Results


def summary(**changes: object) -> dict[str, Any]:
    found = {"requests": 90, "completed": 80, "failed": 2, "errors": {"ReadError": 2}, "rejections": {"503": 8}}
    return found | changes


def test_every_number_of_the_table_has_a_figure_of_its_own() -> None:
    names = [name for part in tune_bank.PARTS.values() for name in part.NAMES]
    assert len(names) == len(set(names)) == 7


def test_requests_without_picture_and_without_rejection_are_failures() -> None:
    figure = rollouts.failures("rollout", summary())
    assert (figure.value, figure.met, figure.peers["rejections"]) == (2.0, False, {"503": 8})
    assert rollouts.failures("rollout", summary(failed=0, errors={})).met is True


def test_a_rollout_during_which_nobody_got_a_picture_shows_nothing() -> None:
    with pytest.raises(RuntimeError, match="none of 90 requests got a picture"):
        rollouts.failures("rollout", summary(completed=0))


def test_downtime_is_the_longest_time_between_two_pictures() -> None:
    ends = [(1.0, 1), (2.0, 1), (3.0, 0), (9.5, 1), (4.0, 0), (10.0, 1)]
    assert downtime.longest_gap([{"ended": end, "images": images} for end, images in ends]) == 7.5
    with pytest.raises(RuntimeError, match="1 of 2 requests got a picture"):
        downtime.longest_gap([{"ended": 1.0, "images": 1}, {"ended": 2.0, "images": 0}])


def test_a_replica_starts_from_when_its_pod_is_made_until_it_is_ready() -> None:
    ready = {"type": "Ready", "lastTransitionTime": "2026-01-01T00:01:05Z"}
    pod = {"metadata": {"creationTimestamp": "2026-01-01T00:00:40Z"}, "status": {"conditions": [{"type": "x"}, ready]}}
    assert cluster.start_seconds(pod) == 25


def test_another_label_changes_nothing_but_the_pods() -> None:
    one, two = (cluster.labelled("studio", label, replicas=2)["spec"] for label in ("a", "b"))
    assert one["server"].pop("labels") == {"edited": "a"}
    assert two["server"].pop("labels") == {"edited": "b"}
    assert one == two
    assert one["server"] == cluster.demo_service("studio")["spec"]["server"]


def test_a_part_that_fails_keeps_what_it_measured_and_the_rest_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(context: object) -> Iterator[Figure]:
        yield Figure("a", 2.0, "s", Must("<=", 1))
        raise RuntimeError("the cluster went away")

    failing = SimpleNamespace(__doc__="Fails.", NAMES=("a", "b"), measure=measure)
    other = SimpleNamespace(__doc__="Is not asked for.", NAMES=("c",), measure=measure)
    monkeypatch.setattr(tune_bank, "PARTS", {"failing": failing, "other": other})
    monkeypatch.setattr(tune_bank, "_context", lambda options: None)
    Results("bank", "before", tmp_path).add([Figure(name, 1.0, "s", Must("<=", 1)) for name in "abc"])
    assert tune_bank.main(["--only", "failing", "--results", str(tmp_path)]) == 0
    found = {item["name"]: item for item in json.loads((tmp_path / "bank.json").read_bytes())["figures"]}
    assert {name: item["value"] for name, item in found.items()} == {"a": 2.0, "b": 1.0, "c": 1.0}
    assert "measured" not in found["a"]
    assert found["b"]["measured"]["command"] == "before"
    assert "the cluster went away" in capsys.readouterr().err
