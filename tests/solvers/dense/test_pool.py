"""The elites: the best that stay apart, whatever the order in which they come."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from solvers.dense.pool import NEAR, Pool
from solvers.dense.problem import Dense, Point
from solvers.ising import to_ising
from solvers.qubo import Qubo

SIZE = 1000
DENSE = Dense(to_ising(Qubo.from_dense(np.diag(np.ones(SIZE, np.int64)))))


def point(twice, ones):
    """A solution of that quality with these spins up."""
    made = Point.of(DENSE)
    made.spins[:SIZE] = -1
    made.spins[ones] = 1
    made.sums[0] = twice
    return made


POINTS = st.lists(st.tuples(st.integers(0, 20), st.lists(st.integers(0, SIZE - 1), max_size=6)), max_size=30)


@given(POINTS, st.booleans(), st.booleans())
def test_elites_stay_apart_and_the_best_is_kept(drawn, symmetric, mirrored):
    pool = Pool(4, symmetric=symmetric)
    for twice, ones in drawn:
        offered = point(twice, ones)
        if mirrored:
            offered.spins[:SIZE] *= -1
        before = list(pool.points)
        left = pool.take(offered)
        assert left is None or left is offered or left in before
        assert (offered in pool.points) == (left is not offered)
        assert left is None or left not in pool.points
        assert len(pool.points) <= 4
    if drawn:
        assert max(each.twice for each in pool.points) == max(twice for twice, _ in drawn)
    # A better one may push into a place between two others: only neighbors at the time are kept apart.
    assert len({each.spins.tobytes() for each in pool.points}) == len(pool.points)


def test_a_near_neighbor_is_replaced_by_a_better_one_and_keeps_a_worse_one_out():
    pool = Pool(3, symmetric=False)
    near = list(range(int(NEAR * SIZE)))
    first, worse, better = point(5, []), point(4, near), point(6, near)
    assert pool.take(first) is None
    assert pool.take(worse) is worse
    assert pool.take(better) is first
    assert pool.take(point(1, range(100))) is None
    assert [each.twice for each in pool.points] == [6, 1]


def test_a_full_pool_gives_up_its_worst_for_a_better_one_from_afar():
    pool = Pool(2, symmetric=False)
    good, bad = point(5, []), point(3, range(100))
    for each in (good, bad):
        pool.take(each)
    assert not pool.would_take(3)
    assert pool.would_take(4)
    assert pool.take(point(4, range(200, 300))) is bad


def test_a_mirror_image_is_the_same_only_where_the_problem_is_symmetric():
    one, image = point(5, range(300)), point(5, range(300, SIZE))
    assert Pool(2, symmetric=True).distance(one, image) == 0
    assert Pool(2, symmetric=False).distance(one, image) == SIZE
