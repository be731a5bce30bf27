"""Published generators: the very draws of their source, and demo problems that are what they say."""

import numpy as np
import pytest

from solvers.formats import parse, recognise
from solvers.generators import PALUBECKIS, demo_problems, palubeckis, sparse_random, toroidal_grid
from solvers.portfolio import solve
from solvers.qubo import Convention
from solvers.verify import recompute


def obvious_palubeckis(variables, density, seed):
    """The original's loops: {(i, j): weight}, all drawn terms."""
    terms = {}

    def draw():
        nonlocal seed
        seed = 16807 * seed % (2**31 - 1)
        return seed / 2**31

    for i in range(variables):
        terms[i, i] = int(draw() * 201) - 100
        for j in range(i + 1, variables):
            if np.float32(draw() * 100) <= density:
                terms[i, j] = int(draw() * 201) - 100
    return terms


@pytest.mark.parametrize(("variables", "density", "seed"), [(1, 50, 31000), (40, 50, 31000), (30, 80, 7), (30, 100, 9)])
def test_dense_problems_are_drawn_as_the_original_draws_them(variables, density, seed):
    qubo = palubeckis(variables, density, seed)
    drawn = {pair: weight for pair, weight in obvious_palubeckis(variables, density, seed).items() if weight}
    rows, columns, weights = (part.tolist() for part in qubo.terms())
    made = dict(zip(zip(rows, columns, strict=True), weights, strict=True))
    made |= {(i, i): int(weight) for i, weight in enumerate(qubo.linear) if weight}
    assert made == drawn
    assert (qubo.convention, qubo.sense) == (Convention.COUNTED_TWICE, "max")


def test_a_published_instance_is_solved_close_to_its_best_known_value_and_not_beyond():
    known = PALUBECKIS[0]
    qubo = palubeckis(known.variables, known.density, known.seed)
    # Counted work of about a second: a wrong draw would miss by far, in either direction.
    solution = solve(qubo, seconds=3600, seed=1, work_max=1_000_000_000)
    assert 0.995 * known.best_known <= solution.value <= known.best_known


def test_a_grid_has_four_edges_at_each_cell_and_wraps_around():
    grid = toroidal_grid(5, 7, 1)
    assert grid.variables == 35
    assert np.diff(grid.indptr).tolist() == [4] * 35
    assert set(grid.weights.tolist()) == {1, -1}
    assert {0, 6} <= set(grid.indices[grid.indptr[6] : grid.indptr[7]].tolist()) | {6}
    with pytest.raises(ValueError, match="three rows"):
        toroidal_grid(2, 9, 1)


def test_generated_problems_are_functions_of_their_seed():
    for make in (lambda seed: toroidal_grid(9, 9, seed), lambda seed: sparse_random(99, 4.0, seed)):
        assert make(1).weights.tobytes() == make(1).weights.tobytes() != make(2).weights.tobytes()


def test_too_many_pairs_are_refused():
    with pytest.raises(ValueError, match="pairs"):
        palubeckis(100_000, 50, 1)


def test_demo_problems_are_files_that_their_reader_recognizes():
    for name, format, content, best_known in demo_problems():
        qubo = parse(content, name)
        assert recognise(content, name) == format
        assert best_known is None or qubo.convention is Convention.COUNTED_TWICE
        if best_known is None:
            ones = np.ones(qubo.variables, np.uint8)
            ones[: qubo.variables // 2] = 0
            assert recompute(content, ones) == qubo.value(ones)
