"""The benches: what they print, and that rows count honestly."""

import json
from pathlib import Path

import pytest

from benchmarks import journal, measure, runtime
from benchmarks.catalog import BENCHES
from benchmarks.measure import Measured, NotMeasurable, Row
from gateway import cli

FIELDS = ["name", "ours", "peer", "theirs", "ratio", "value", "unit", "better", "goal", "met"]


def row(better: str, goal: float | None) -> Row:
    measured = Measured(ours=[4.0, 2.0, 900.0], theirs=[8.0, 8.0, 0.1])
    return Row(name="r", measure=lambda: measured, peer="p", unit="u", better=better, goal=goal)  # type: ignore[arg-type]


def test_rates_are_ours_over_theirs_and_costs_theirs_over_ours_of_the_medians():
    assert (measure.run(row("more", 0.5)).ratio, measure.run(row("less", 2.0)).ratio) == (0.5, 2.0)
    assert (measure.run(row("more", 0.5)).met, measure.run(row("more", 0.6)).met) == (True, False)


def test_a_row_without_a_goal_has_a_value_and_no_ratio():
    result = measure.run(row("less", None))
    assert (result.ratio, result.value, result.met) == (None, 4.0, None)


def test_a_value_that_was_not_reached_counts_as_0():
    result = measure.not_reached(row("more", 2.0))
    assert (result.ratio, result.met) == (0.0, False)


def test_the_runtime_bench_measures_both_sides():
    measured = runtime.ask_idle(rounds=2, asks=300)
    assert len(measured.ours) == len(measured.theirs) == 2
    assert min(measured.ours + measured.theirs) > 0


def test_the_journal_bench_measures_both_sides_on_a_disk(tmp_path: Path):
    try:
        measured = journal.durable_1000(rounds=1, callers=20, round_seconds=0.2, folder=tmp_path)
    except NotMeasurable as reason:
        pytest.skip(str(reason))
    assert min(measured.ours + measured.theirs) > 0


def test_a_bench_prints_one_object_of_the_agreed_shape(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("gateway.commands.bench.configure", lambda *_: None)  # logs go their way in this process
    monkeypatch.setitem(BENCHES, "runtime", (row("less", 1.5),))
    assert cli.main(["bench", "runtime", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["bench", "machine", "rows"]
    assert told["machine"]["calibration_ms"] > 0
    assert [list(printed) for printed in told["rows"]] == [FIELDS]


def test_a_row_that_cannot_be_measured_is_told_and_exits_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def nowhere() -> Measured:
        raise NotMeasurable("no disk")

    unmeasured = Row(name="r", measure=nowhere, peer="p", unit="u", better="more", goal=2.0)
    monkeypatch.setattr("gateway.commands.bench.configure", lambda *_: None)
    monkeypatch.setitem(BENCHES, "journal", (unmeasured,))
    assert cli.main(["bench", "journal", "--json"]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["rows"][0]["met"] is False
    assert "no disk" in told.err
