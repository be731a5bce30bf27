"""The bench of QUBO solvers measures both sides, and counts what was not reached as never."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import annealers, answers, dense, proving, qubo, tabu
from benchmarks.annealers import DWAVE, OPENJIJ, Maker, anneal, read_graph
from benchmarks.catalog import BENCHES
from benchmarks.measure import NEVER, NotMeasurable
from solvers.formats import write_bqp, write_rudy
from solvers.generators import Known, palubeckis, sparse_random, toroidal_grid
from solvers.verify import recompute


@pytest.fixture
def graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data whose instances are small ones of other names."""
    (tmp_path / "gset").mkdir()
    for name in ("G55", "G81"):
        (tmp_path / "gset" / f"{name}.txt").write_bytes(write_rudy(toroidal_grid(8, 8, 1)))
    monkeypatch.setattr(qubo, "DATA", tmp_path)
    return tmp_path / "gset"


def test_all_rows_are_in_the_catalog():
    assert {row.name for row in qubo.ROWS} <= {row.name for row in BENCHES["qubo"]}


@pytest.mark.parametrize("maker", [DWAVE, OPENJIJ])
def test_a_peers_cut_is_that_of_its_spins_in_the_file(maker: Maker, tmp_path: Path):
    path = tmp_path / "small.txt"
    path.write_bytes(write_rudy(sparse_random(30, 4.0, 1)))
    graph = read_graph(path)
    spins = np.random.default_rng(1).choice([-1, 1], 30)
    assert graph.cut(spins) == recompute(path.read_bytes(), (spins > 0).astype(int), name=path.name)
    found = anneal(maker, path, 200, seed=1)
    best = max(graph.cut(np.random.default_rng(seed).choice([-1, 1], 30)) for seed in range(100))
    assert found.value >= best
    assert found.seconds > 0


def test_the_time_to_a_value_is_never_where_it_is_not_reached(graphs: Path, monkeypatch: pytest.MonkeyPatch):
    assert answers.seconds_to(graphs / "G81.txt", 20, seed=1) < NEVER
    monkeypatch.setattr(answers, "SECONDS", 0.05)
    assert answers.seconds_to(graphs / "G81.txt", 1e6, seed=1) == NEVER


def test_a_row_measures_the_better_of_both_peers_and_its_worst_seed(graphs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(annealers, "calibrated", lambda maker, path: 100)
    monkeypatch.setattr(annealers, "SEEDS", range(2))
    measured = qubo.time_to_target("G55", qubo.BOTH)
    assert len(measured.ours) == len(answers.SEEDS)
    assert max(measured.ours) < NEVER
    assert qubo.worst_time("G55", qubo.BOTH).ours == [max(measured.ours)]
    annealers.reached.cache_clear()
    qubo.times.cache_clear()


def test_rates_and_readers_are_measured_on_both_sides(graphs: Path):
    for measure in (qubo.updates_g81, qubo.parse_g81):
        measured = measure(rounds=1)
        assert min(measured.ours + measured.theirs) > 0


def test_a_row_whose_data_is_absent_says_so(graphs: Path):
    with pytest.raises(NotMeasurable, match=r"G70\.txt is absent"):
        qubo.graph_file("G70")


def test_small_problems_are_proven_beside_another_solver() -> None:
    measured = proving.tts_small(4)
    assert len(measured.ours) == len(measured.theirs) == 4
    assert max(measured.theirs) <= proving.CAP_SECONDS


def test_a_tabu_searchs_value_is_that_of_its_assignment_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "dense.bqp"
    path.write_bytes(write_bqp(palubeckis(30, 60, 1)))
    terms = tabu.read_terms(path)
    x = np.random.default_rng(1).integers(0, 2, 30)
    assert terms.value(x) == recompute(path.read_bytes(), x, name=path.name)
    best = max(terms.value(np.random.default_rng(seed).integers(0, 2, 30)) for seed in range(100))
    assert tabu.search(path, 0.05, seed=1).value >= best


def test_a_gap_is_that_of_the_worst_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "SECONDS", 0.05)
    monkeypatch.setattr(dense, "SEEDS", range(2))
    with dense.written(Known(12, 100, 1, 0)) as path:
        optimum = answers.verified(path, 1)[1].value
    measured = dense.worst_gap(Known(12, 100, 1, int(optimum) + 7))
    assert (measured.ours, measured.theirs) == ([7.0], [optimum + 7])
