"""The benches: what they print, and that rows count honestly."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import msgspec
import pytest

from benchmarks import big, folding, gateway, journal, measure, projections, proof, replay, runtime
from benchmarks.actors import QUEUED, AsyncCounter, Counter
from benchmarks.catalog import BENCHES
from benchmarks.measure import Measured, NotMeasurable, Row
from gateway import cli
from runtime.actors import Props

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


def test_a_bound_is_our_cost_over_theirs_and_one_that_was_not_reached_is_a_huge_cost():
    bound = msgspec.structs.replace(row("less", 3.0), at_most=True)
    assert (measure.run(bound).ratio, measure.run(bound).met) == (0.5, True)
    assert (measure.not_reached(bound).ratio, measure.not_reached(bound).met) == (1e9, False)


def test_a_bound_on_our_own_value_counts_beside_the_ratio():
    assert measure.run(msgspec.structs.replace(row("less", 2.0), ours_max=4.0)).met
    assert not measure.run(msgspec.structs.replace(row("less", 2.0), ours_max=3.9)).met


SMALL = {
    "ask_idle": partial(runtime.ask, Props(), asks=300),
    "ask_idle_lean": partial(runtime.ask, Props(telemetry=False), asks=300),
    "ask_queued": partial(runtime.ask, QUEUED, asks=300),
    "ask_1000": partial(runtime.ask_at_once, Counter, asks=300, callers=30),
    "ask_deadline": partial(runtime.ask_deadline, asks=300),
    "ask_async": partial(runtime.ask_at_once, AsyncCounter, asks=300, callers=30),
    "tell": partial(runtime.tell, tells=3000),
    "fanout": partial(runtime.tell, 30, tells=3000),
    "spawn": partial(runtime.spawn, count=300),
    "idle_bytes": partial(runtime.idle_bytes, count=300),
    "pykka_ask": partial(runtime.pykka_ask, asks=300),
    "pykka_tell": partial(runtime.pykka_tell, tells=300),
    "tail": partial(runtime.tail, asks=100),
    "grow": partial(runtime.grow, many=1000),
    "ask_queued_at_once": partial(runtime.ask, QUEUED, asks=300, answers_wait=False),
    "ask_1000_at_once": partial(runtime.ask_at_once, Counter, asks=300, callers=30, answers_wait=False),
}


def test_all_rows_of_the_runtime_bench_are_tried_here():
    assert [row.name for row in runtime.ROWS] == list(SMALL)


@pytest.mark.rotate(keep=3)
@pytest.mark.parametrize("name", SMALL)
def test_a_row_of_the_runtime_bench_measures_both_sides(name: str):
    measured = SMALL[name](rounds=2)
    assert len(measured.ours) == len(measured.theirs) == 2
    assert min(measured.ours + measured.theirs) > 0


def test_the_journal_bench_measures_both_sides_on_a_disk(disk: Path):
    try:
        measured = journal.durable(20, rounds=1, round_seconds=0.2, folder=disk)
    except NotMeasurable as reason:
        pytest.skip(str(reason))
    assert min(measured.ours + measured.theirs) > 0


OF_STATES = {
    "fold": partial(folding.fold, streams=2, events=120),
    "merkle_share": partial(proof.merkle_share, callers=20, round_seconds=0.1),
    "big_log": partial(big.big_log, events=2_000, callers=20, round_seconds=0.1),
    "start_big": partial(big.start_big, events=2_000),
}


def test_all_rows_on_folding_proof_and_large_journals_are_tried_here():
    assert [row.name for row in (*folding.ROWS, *proof.ROWS, *big.ROWS)] == list(OF_STATES)
    assert {*OF_STATES} <= {row.name for row in BENCHES["journal"]}


@pytest.mark.parametrize("name", OF_STATES)
def test_a_row_on_folding_proof_or_a_large_journal_measures_both_sides(name: str, tmp_path: Path):
    measured = OF_STATES[name](rounds=2, place=tmp_path)
    assert len(measured.ours) == 2
    assert min(measured.theirs) > 0


def test_a_large_journal_is_whole_and_gone_when_the_program_ends(tmp_path: Path):
    code = (
        "from benchmarks import big; from pathlib import Path; import sys; from runtime.verification import verify\n"
        "made = big.big_journal(1_500, Path(sys.argv[1])); assert big.big_journal(1_500, Path(sys.argv[1])) == made\n"
        "report = verify(made / 'journal.db'); print(report.whole, report.positions)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["True", "1500"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("disk")
def test_a_bench_prints_one_object_of_the_agreed_shape(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("gateway.commands.bench.configure", lambda *_: None)  # logs go their way in this process
    monkeypatch.setitem(BENCHES, "runtime", (row("less", 1.5),))
    assert cli.main(["bench", "runtime", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["bench", "machine", "rows"]
    assert told["machine"]["calibration_ms"] > 0
    assert told["machine"]["fsync_ms"] > 0
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


def test_read_models_are_measured_on_both_sides_and_end_with_the_same_rows(disk: Path) -> None:
    measured = projections.project(events=300, rounds=1, folder=disk)
    assert measured.ours[0] > 0 < measured.theirs[0]


def test_replaying_is_measured_on_both_sides(tmp_path: Path) -> None:
    assert "replay" in {row.name for row in BENCHES["audit"]}
    measured = replay.replay(events=300, rounds=1, place=tmp_path)
    assert measured.ours[0] > 0 < measured.theirs[0]


SMALL_GATEWAY = {
    "get": partial(gateway.get, seconds=0.3, tasks=20),
    "ws_command": partial(gateway.ws_command, seconds=0.3, tasks=20),
}
"""Each starts servers of its own, which takes seconds: one row of requests and one of frames."""


@pytest.mark.rotate(keep=1)
@pytest.mark.parametrize("name", SMALL_GATEWAY)
def test_a_row_of_the_gateway_bench_measures_both_sides(name: str):
    measured = SMALL_GATEWAY[name](rounds=1)
    assert len(measured.ours) == len(measured.theirs) == 1
    assert min(measured.ours + measured.theirs) > 0
