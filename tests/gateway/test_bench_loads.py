"""The bench of loads: the real coordinator gives the tasks out, and the coefficient is what it says."""

import pytest

from aggregates.values.ranking import AwardPolicy
from benchmarks import loads
from benchmarks.catalog import BENCHES


def test_the_coefficient_is_the_mean_difference_of_two_by_twice_the_mean() -> None:
    for several in ([3.0, 3.0, 3.0], [0.0, 0.0, 9.0], [1.0, 5.0, 2.0, 8.0, 4.0]):
        differences = sum(abs(one - other) for one in several for other in several)
        plain = differences / (2 * len(several) * sum(several))
        assert loads.gini(several) == pytest.approx(plain)


def test_all_work_is_done_once_whoever_does_it() -> None:
    workers = loads.crew(6)
    given = loads.jobs(80, workers)
    done = {
        "coordinated": loads.coordinated(workers, given, AwardPolicy.WEIGHTED_SCORE),
        "at random": loads.at_random(workers, given),
        "among the free": loads.among_the_free(workers, given),
    }
    for found in done.values():
        work = sum(load * one.slots * one.speed for load, one in zip(found, workers, strict=True))
        assert work == pytest.approx(sum(job.work for job in given))


def test_the_rows_on_loads_measure_both_sides_and_give_the_same_each_time() -> None:
    assert {row.name for row in loads.ROWS} <= {row.name for row in BENCHES["coordination"]}
    first, second = (loads.balance(AwardPolicy.LEAST_LOAD, agents=6, tasks=80) for _ in range(2))
    assert first == second
    assert min(first.ours + first.theirs) > 0
