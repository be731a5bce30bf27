"""Assignments: as good as promised, by prices that prove it, for whatever is asked; and the same again for the same question."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from solvers.assignment import SCALED_SHARE, Assignment, assign, dual_bound, value_of
from solvers.auction import BLOCK, CANDIDATES

ROUNDING = 1e-9
INF = float("inf")


def optimum(scores: np.ndarray, slots: np.ndarray, outside: np.ndarray) -> float:
    """By scipy: a column for each slot, and one for each task in which it alone may stay outside."""
    n, m = scores.shape
    columns = np.repeat(np.arange(m), np.minimum(slots, n))
    alone = np.full((n, n), -1e9)
    np.fill_diagonal(alone, outside)
    whole = np.hstack([np.where(np.isneginf(scores), -1e9, scores)[:, columns], alone])
    rows, chosen = linear_sum_assignment(whole, maximize=True)
    return float(whole[rows, chosen].sum())


def tried(scores: Any, slots: Any, outside: Any) -> Any:
    """The slow twin: every assignment there is, in plain Python."""
    n, m = len(scores), len(slots)
    best = -INF
    for places in product(range(-1, m), repeat=n):
        if all(places.count(j) <= slots[j] for j in range(m)):
            best = max(best, sum(outside[i] if j < 0 else scores[i][j] for i, j in enumerate(places)))
    return best


def obvious_dual(scores: Any, slots: Any, outside: Any, prices: Any) -> Any:
    """The formula of the module, in plain Python."""
    paid = sum(min(many, len(scores)) * price for many, price in zip(slots, prices, strict=True))
    return paid + sum(
        max([alone, *(score - price for score, price in zip(row, prices, strict=True))])
        for row, alone in zip(scores, outside, strict=True)
    )


def is_sound(found: Assignment, scores: np.ndarray, slots: np.ndarray, outside: np.ndarray) -> None:
    """What holds of any answer, complete or not."""
    placed = found.agents[found.agents >= 0]
    assert (np.bincount(placed, minlength=len(slots)) <= slots).all()
    for i, j in enumerate(found.agents):
        assert j < 0 or scores[i, j] > outside[i]
    assert found.value == pytest.approx(value_of(scores, outside, found.agents), rel=ROUNDING, abs=ROUNDING)
    assert found.dual == pytest.approx(obvious_dual(scores, slots, outside, found.prices), rel=ROUNDING, abs=ROUNDING)
    assert found.dual == pytest.approx(dual_bound(scores, slots, outside, found.prices), rel=ROUNDING, abs=ROUNDING)
    best = optimum(scores, slots, outside)
    assert found.value <= best + ROUNDING * (1 + abs(best))
    assert found.dual >= best - ROUNDING * (1 + abs(best))


def is_as_promised(found: Assignment, scores: np.ndarray, slots: np.ndarray, outside: np.ndarray) -> None:
    is_sound(found, scores, slots, outside)
    assert found.complete
    assert found.value >= found.dual - found.promised - ROUNDING * (1 + abs(found.dual))


def drawn(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A problem of a random kind: whole numbers or not, of low rank or all alike, forbidden pairs, few slots or many."""
    n, m = int(random.integers(1, 40)), int(random.integers(1, 100 if random.random() < 0.2 else 12))
    match random.integers(4):
        case 0:
            scores = random.integers(-5, 30, (n, m)).astype(float)
        case 1:
            scores = random.random((n, 2)) @ random.random((2, m))
        case 2:
            scores = np.full((n, m), float(random.integers(0, 3)))
        case _:
            scores = random.normal(size=(n, m)) * 10.0 ** random.integers(-3, 4)
    if random.random() < 0.4:
        scores[random.random((n, m)) < random.random()] = -INF
    slots = random.integers(0, [2, 4, n + 2][random.integers(3)], m)
    outside = np.zeros(n) if random.random() < 0.5 else random.normal(size=n)
    return scores, slots, outside


@pytest.mark.parametrize("seed", range(6))
def test_cold_and_warm_answers_are_as_near_to_scipys_optimum_as_promised(seed):
    random = np.random.default_rng(seed)
    for _ in range(250):
        scores, slots, outside = drawn(random)
        share = 10.0 ** -random.integers(1, 6)
        epsilon = (
            None
            if random.random() < 0.3
            else share * max(1e-3, float(np.abs(scores[np.isfinite(scores)]).max(initial=1.0)))
        )
        found = assign(scores, slots, outside, epsilon=epsilon)
        is_as_promised(found, scores, slots, outside)
        if random.random() < 0.5:  # other scores, other slots
            rows = random.random(len(scores)) < 0.2
            scores[rows] = random.permutation(scores[rows].ravel()).reshape(scores[rows].shape)
            slots = np.where(random.random(len(slots)) < 0.2, random.integers(0, 4, len(slots)), slots)
        prices = found.prices * random.choice([1.0, 0.0, 3.0]) + random.choice([0.0, 0.1, 1e6]) * random.random(
            len(slots)
        )
        held = found.agents if random.random() < 0.5 else None
        again = assign(scores, slots, outside, epsilon=epsilon, prices=prices, agents=held)
        is_as_promised(again, scores, slots, outside)
        assert again.start in ("warm", "stale")


@given(st.data())
@settings(max_examples=150)
def test_whole_numbers_with_an_epsilon_below_one_in_n_are_solved_exactly(data):
    n, m = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    score = st.one_of(st.integers(-3, 12), st.just(-INF))
    scores = data.draw(st.lists(st.lists(score, min_size=m, max_size=m), min_size=n, max_size=n))
    slots = data.draw(st.lists(st.integers(0, 3), min_size=m, max_size=m))
    outside = data.draw(st.lists(st.integers(-4, 6), min_size=n, max_size=n))
    found = assign(np.array(scores, float), slots, np.array(outside, float), epsilon=0.9 / n)
    assert found.value == tried(scores, slots, outside)


@pytest.mark.parametrize("n, m, many", [(1000, 100, 5), (300, 300, 1), (200, BLOCK + CANDIDATES, 4)])
def test_hard_cases_keep_the_promise(n, m, many):
    """Fewer slots than tasks, no difference between any two, scores of rank one, every second pair forbidden; and a small epsilon."""
    random = np.random.default_rng(7)
    cases = [
        np.full((n, m), 0.5),
        random.random((n, 1)) * random.random(m),
        random.random((n, 3)) @ random.random((3, m)),
    ]
    cases.append(np.where(random.random((n, m)) < 0.5, -INF, cases[-1]))
    slots, outside = np.full(m, many), np.zeros(n)
    for scores in cases:
        for epsilon in (1e-2, 1e-3, SCALED_SHARE / 4):
            is_as_promised(assign(scores, slots, outside, epsilon=epsilon), scores, slots, outside)


def test_an_order_of_tasks_and_agents_changes_no_value_beyond_the_promise_and_the_same_question_has_the_same_answer():
    random = np.random.default_rng(3)
    scores, slots = random.random((60, 4)) @ random.random((4, 20)), random.integers(1, 4, 20)
    found, again = assign(scores, slots), assign(scores.copy(), slots)
    assert (found.agents == again.agents).all()
    assert (found.prices == again.prices).all()
    rows, columns = random.permutation(60), random.permutation(20)
    other = assign(scores[np.ix_(rows, columns)], slots[columns])
    assert abs(other.value - found.value) <= found.promised
    whole = random.integers(0, 20, (30, 9)).astype(float)
    values = {assign(whole[random.permutation(30)], 2, epsilon=0.9 / 30).value for _ in range(5)}
    assert len(values) == 1


def test_who_is_alike_is_served_in_order():
    assert (
        assign(np.ones((3, 2)), [1, 1]).agents.tolist() == [0, 1, -1]
        or len(set(assign(np.ones((3, 2)), [1, 1]).agents)) == 3
    )
    assert assign([[1.0, 1.0]], [1, 1]).agents.tolist() == [0]
    assert assign([[0.0, -1.0]], [1, 1]).agents.tolist() == [-1]  # no score beats staying outside


@pytest.mark.parametrize("n, m", [(0, 0), (0, 3), (3, 0)])
def test_nothing_to_assign_is_an_answer_too(n, m):
    found = assign(np.zeros((n, m)), np.ones(m, int), 0.25)
    assert (found.agents.tolist(), found.value, found.dual, found.complete) == ([-1] * n, 0.25 * n, 0.25 * n, True)


def test_forbidden_pairs_and_agents_without_slots_are_never_used():
    scores = np.array([[9.0, 1.0], [9.0, 1.0]])
    assert assign(scores, [2, 2], allowed=[[False, True], [True, False]]).agents.tolist() == [1, 0]
    none = assign(scores, [0, 0])
    assert none.agents.tolist() == [-1, -1]
    assert none.gap == 0.0


def test_work_has_a_bound_and_what_was_reached_is_still_bounded_by_its_prices():
    random = np.random.default_rng(5)
    scores, slots, outside = random.random((200, 3)) @ random.random((3, 100)), np.full(100, 1), np.zeros(200)
    whole = assign(scores, slots, outside, epsilon=1e-4)
    for work in (0, 1000, 50_000, whole.work // 2):
        found = assign(scores, slots, outside, epsilon=1e-4, work_max=work)
        assert not found.complete
        is_sound(found, scores, slots, outside)
    stopped = assign(scores, slots, outside, is_stopped=lambda: True)
    assert (stopped.complete, stopped.bids) == (False, 0)
    is_sound(assign(scores, slots, outside, prices=whole.prices * 9, work_max=5000), scores, slots, outside)


def test_kept_prices_save_bids_and_useless_ones_are_given_up():
    random = np.random.default_rng(9)
    left, right = random.random((400, 5)), random.random((5, 40))
    scores, slots, outside = left @ right, np.full(40, 6), np.zeros(400)
    cold = assign(scores, slots, outside)
    scores[:20] = random.random((20, 5)) @ right
    warm = assign(scores, slots, outside, prices=cold.prices, agents=cold.agents)
    assert (warm.start, warm.bids < cold.bids / 5) == ("warm", True)
    is_as_promised(warm, scores, slots, outside)
    hopeless = assign(scores, slots, outside, epsilon=1e-5, prices=np.linspace(0, 9, 40))
    is_as_promised(hopeless, scores, slots, outside)


@pytest.mark.parametrize(
    "change, told",
    [
        ({"scores": [[1.0, float("nan")]]}, "scores[0, 1] is nan"),
        ({"scores": [[INF, 0.0]]}, "scores[0, 0] is inf"),
        ({"scores": [1.0, 2.0]}, "scores: a row for each task"),
        ({"slots": [1]}, "slots: a whole number for each of 2 agents"),
        ({"slots": [1.5, 1]}, "slots: a whole number"),
        ({"slots": [1, -1]}, "slots[1] is negative"),
        ({"outside": -INF}, "outside[0] is no number"),
        ({"outside": [0.0, 1.0]}, "outside: a number, or one for each of 1 tasks"),
        ({"allowed": [[True]]}, "allowed: of the shape of scores"),
        ({"epsilon": 0.0}, "epsilon: "),
        ({"epsilon": float("nan")}, "epsilon: "),
        ({"epsilon": 1e-14}, "epsilon: "),
        ({"prices": [0.0]}, "prices: one for each of 2 agents"),
        ({"prices": [0.0, -1.0]}, "prices[1] is negative"),
        ({"prices": [0.0, float("nan")]}, "prices[1] is negative or no number"),
        ({"prices": [0.0, 0.0], "agents": [2]}, "agents[0] is no agent"),
        ({"prices": [0.0, 0.0], "agents": [0, 1]}, "agents: a whole number for each of 1 tasks"),
        ({"agents": [0]}, "agents: only beside the prices"),
    ],
)
def test_what_is_no_problem_is_refused_with_the_place_that_is_wrong(change, told):
    with pytest.raises(ValueError) as refused:
        assign(**({"scores": [[1.0, 2.0]], "slots": [1, 1]} | change))
    assert str(refused.value).startswith(told)


def test_a_bound_by_prices_below_zero_is_refused():
    with pytest.raises(ValueError):
        dual_bound([[1.0]], [1], 0.0, [-1.0])
