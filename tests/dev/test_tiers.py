"""The ladder of tests itself: order, stop at the first failure, the summary."""

import pytest

from dev import tiers
from dev.tiers import Tier


@pytest.fixture
def ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three small tiers in place of the real ones, and one that is not of every change."""
    monkeypatch.setattr(
        tiers,
        "TIERS",
        (
            Tier(name="good", about="passes", commands=(("-c", "print('3 passed in 0.1s')"), ("-c", ""))),
            Tier(name="bad", about="fails", commands=(("-c", "raise SystemExit(3)"), ("-c", "print('after')"))),
            Tier(name="last", about="is never reached", commands=(("-c", "print('last')"),)),
            Tier(name="long", about="is asked for by name", commands=(("-c", ""),), every_change=False),
        ),
    )


@pytest.mark.usefixtures("ladder")
def test_the_first_tier_that_fails_ends_the_run_and_the_summary_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert tiers.main([]) == 1
    shown = capsys.readouterr().out
    assert "after" not in shown
    summary = shown.partition("== summary\n")[2].splitlines()
    assert [line.split()[:2] for line in summary[:3]] == [["good", "ok"], ["bad", "FAILED"], ["last", "not"]]
    assert summary[0].endswith("3 passed in 0.1s")
    assert summary[3].startswith("total")


@pytest.mark.usefixtures("ladder")
def test_a_tier_that_is_named_runs_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert tiers.main(["last"]) == 0
    shown = capsys.readouterr().out
    assert "last       ok" in shown
    assert "summary" not in shown


@pytest.mark.usefixtures("ladder")
def test_the_order_is_the_ladders_and_not_that_of_the_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert tiers.main(["long", "good"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("== good") < shown.index("== long")


@pytest.mark.usefixtures("ladder")
def test_an_unknown_tier_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tiers.main(["unti"])
    assert "there is no tier unti; there are good, bad, last, long" in capsys.readouterr().err
