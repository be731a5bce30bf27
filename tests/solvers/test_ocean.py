"""Our solvers as an Ocean sampler: dimod's own tests, and what the parameters promise."""

import re
import unittest
from pathlib import Path

import dimod
import dimod.testing
import numpy as np
import pytest

from solvers.ocean import GavelSampler

PAGE = Path(__file__).parents[2] / "docs" / "qubo.md"


@dimod.testing.load_sampler_bqm_tests(GavelSampler)
class TestDimodsOwn(unittest.TestCase):
    """Filled by dimod: every kind of model, empty ones and strange labels among them."""

    def test_the_interface(self) -> None:
        dimod.testing.assert_sampler_api(GavelSampler())


def random_bqm(size=30, vartype="SPIN", seed=1):
    return dimod.generators.gnm_random_bqm(size, 4 * size, vartype, random_state=seed)


@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
def test_the_least_energy_is_found_and_proven(vartype):
    bqm = random_bqm(16, vartype)
    found = GavelSampler().sample(bqm, seed=1)
    assert found.first.energy == pytest.approx(dimod.ExactSolver().sample(bqm).first.energy)
    assert found.info["proven"]
    assert found.info["trace"][-1][1] == pytest.approx(found.first.energy)


def test_whole_biases_are_solved_exactly_and_labels_stay():
    bqm = dimod.BinaryQuadraticModel({"a": 3, ("b", 1): -2}, {("a", ("b", 1)): 5}, 7, "SPIN")
    found = GavelSampler().sample(bqm, seed=1)
    assert found.first.sample == {"a": -1, ("b", 1): 1}
    assert found.first.energy == -3 - 2 - 5 + 7


def test_reads_are_rows_and_a_seed_gives_them_again():
    bqm = random_bqm(150)
    one, again = (GavelSampler().sample(bqm, num_reads=3, seed=5, time_limit=0.02) for _ in range(2))
    assert (one.record.sample == again.record.sample).all()
    assert one.record.sample.shape == (3, 150)
    assert (one.info["seed"], one.info["trace"]) == (5, again.info["trace"])


def test_initial_states_are_where_runs_begin():
    bqm = random_bqm(150)
    good = GavelSampler().sample(bqm, seed=1, time_limit=0.5)
    found = GavelSampler().sample(bqm, initial_states=good, time_limit=0.001)
    assert found.first.energy <= good.first.energy + 1e-9
    states = dimod.as_samples((np.ones((2, 150), np.int8), list(bqm.variables)))
    assert len(GavelSampler().sample(bqm, initial_states=states, time_limit=0.001)) == 2
    with pytest.raises(ValueError, match="initial_states should"):
        GavelSampler().sample(bqm, initial_states={0: 1})


def test_with_beta_it_samples():
    bqm = dimod.BinaryQuadraticModel({0: 0.5}, {}, "SPIN")
    found = GavelSampler().sample(bqm, beta=1.0, num_reads=20_000, seed=1)
    down = (found.record.sample == -1).mean()
    assert down == pytest.approx(1 / (1 + np.exp(-1.0)), abs=0.015)
    assert (found.info["strategy"], found.info["complete"]) == ("tempering", True)


def test_it_can_be_interrupted():
    bqm = random_bqm(300)
    assert len(GavelSampler().sample(bqm, num_reads=50, time_limit=3600, interrupt_function=lambda: True)) == 1


def test_what_it_does_not_know_is_passed_over_with_a_warning():
    with pytest.warns(dimod.exceptions.SamplerUnknownArgWarning, match="num_sweeps"):
        GavelSampler().sample(random_bqm(10), num_sweeps=1000)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"num_reads": 0}, "num_reads"),
        ({"seed": -1}, "seed"),
        ({"time_limit": 0}, "time_limit"),
        ({"time_limit": float("inf")}, "time_limit"),
        ({"beta": -1.0}, "beta"),
        ({"strategy": "dreaming"}, "dreaming"),
        ({"threads": 1000}, "threads"),
    ],
)
def test_wrong_parameters_are_refused(parameters, reason):
    with pytest.raises(ValueError, match=reason):
        GavelSampler().sample(random_bqm(10), **parameters)


def test_it_works_inside_a_composite():
    bqm = random_bqm(12)
    structured = dimod.StructureComposite(GavelSampler(), list(bqm.variables), list(bqm.quadratic))
    found = structured.sample(bqm, seed=1)
    assert found.first.energy == pytest.approx(dimod.ExactSolver().sample(bqm).first.energy)


@pytest.mark.parametrize("number", [0, 1])
def test_what_the_page_shows_runs(number, capsys):
    example = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[number]
    exec(compile(example, str(PAGE), "exec"), {})
    assert "True" in capsys.readouterr().out
