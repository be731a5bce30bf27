"""The portfolio's table: which strategies there are, in the order in which they are asked whether a problem suits them.

Light to import: a strategy loads its kernels when it starts.
"""

import math

from solvers.features import Features
from solvers.quantum.sizes import QUBITS_MAX
from solvers.quantum.sizes import memory_bytes as state_bytes
from solvers.strategy import Island, Start, Strategy

DENSE_DEGREE_MIN = 100
"""Neighbors of a spin from which rows of all spins are better than lists of the coupled ones: on random graphs of 2,500 spins
vectors of 64 replicas come further at 20, 40 and 80, rows at 160 and 250. The same where replicas go in a word, on 1,000 and 3,000:"""
DENSE_DEGREE_MIN_IN_WORDS = 60
DENSE_DENSITY_MIN = 0.01
DENSE_BYTES_MAX = 2**30
EXACT_VARIABLES_MAX = 100
VECTOR_VARIABLES_MAX = 200_000
"""Beyond, vectors come from memory and not from a cache, and 64 replicas need more than their time to come through."""
MULTI_SPIN_STRENGTH_MAX = 127  # what the counters of `solvers.sparse.words` hold


class _Anything:
    """What most strategies have in common: they take all problems, reduced, and suit none unless they say so."""

    reduces = True
    limits = "anything"

    def takes(self, features: Features) -> bool:
        return True

    def suits(self, features: Features) -> bool:
        return False


class DenseMemetic(_Anything):
    """Rows of all spins in small integers: for problems in which most couplings are there."""

    name = "dense"
    work_per_second = 50_000_000

    def suits(self, features: Features) -> bool:
        in_words = MultiSpinAnnealing().suits(features)
        degree_min = DENSE_DEGREE_MIN_IN_WORDS if in_words else DENSE_DEGREE_MIN
        has_many = features.density >= DENSE_DENSITY_MIN and features.degree_mean >= degree_min
        return (has_many or features.density >= 0.5) and self.memory_bytes(features) <= DENSE_BYTES_MAX

    def memory_bytes(self, features: Features) -> int:
        from solvers.dense.sizes import memory_bytes

        return memory_bytes(features.variables, features.weight_max, features.is_integer)

    def start(self, start: Start) -> Island:
        from solvers.dense.memetic import Memetic

        return Memetic(start)


class MultiSpinAnnealing(_Anything):
    """Sparse problems of small whole numbers: 64 replicas in the bits of a word."""

    name = "multi-spin"
    work_per_second = 400_000_000
    limits = f"whole numbers, at most {MULTI_SPIN_STRENGTH_MAX} around a spin"

    def takes(self, features: Features) -> bool:
        return features.is_integer and features.strength_max <= MULTI_SPIN_STRENGTH_MAX

    def suits(self, features: Features) -> bool:
        return self.takes(features)

    def memory_bytes(self, features: Features) -> int:
        return 96 * features.variables + 48 * features.couplings

    def start(self, start: Start) -> Island:
        from solvers.sparse.multi_spin import MultiSpin

        return MultiSpin(start)


class VectorAnnealing(_Anything):
    """Sparse problems of any weights: 64 replicas in the vectors of a processor."""

    name = "vector-annealing"
    work_per_second = 50_000_000

    def suits(self, features: Features) -> bool:
        return features.variables <= VECTOR_VARIABLES_MAX

    def memory_bytes(self, features: Features) -> int:
        return 580 * features.variables + 16 * features.couplings + 2**16

    def start(self, start: Start) -> Island:
        from solvers.sparse.multi_spin import VectorAnnealing as Annealing

        return Annealing(start)


class ScalarAnnealing(_Anything):
    """Takes everything, so it is the last."""

    name = "annealing"
    work_per_second = 80_000_000

    def suits(self, features: Features) -> bool:
        return True

    def memory_bytes(self, features: Features) -> int:
        return 24 * features.variables

    def start(self, start: Start) -> Island:
        from solvers.annealing import Annealing

        return Annealing(start)


class BranchAndBound(_Anything):
    """Small problems, which it solves for good: its run ends where the best is proven to be an optimum."""

    name = "exact"
    work_per_second = 80_000_000
    limits = "what is left of a problem in at most 200 variables"

    def takes(self, features: Features) -> bool:
        return features.variables <= 200  # as many as give an island of 25 MB

    def suits(self, features: Features) -> bool:
        return features.variables <= EXACT_VARIABLES_MAX  # random ones of 60 take 10 ms, of 100 half a second

    def memory_bytes(self, features: Features) -> int:
        from solvers.branching import memory_bytes

        return memory_bytes(features.variables)

    def start(self, start: Start) -> Island:
        from solvers.exact import ExactSearch

        return ExactSearch(start)


class ParallelTempering(_Anything):
    """Replicas at a ladder of temperatures. It suits nothing best, so it is run by name alone; `solvers.sampling` samples by it."""

    name = "tempering"
    work_per_second = 20_000_000

    def memory_bytes(self, features: Features) -> int:
        return 700 * features.variables + 24 * features.couplings + 2**16

    def start(self, start: Start) -> Island:
        from solvers.tempering import Tempering

        return Tempering(start)


class TabuSearch(_Anything):
    """One best flip after another, none undone soon. Annealing is better everywhere that was looked at, so it is run by name alone."""

    name = "tabu"
    work_per_second = 80_000_000

    def memory_bytes(self, features: Features) -> int:
        return 32 * features.variables

    def start(self, start: Start) -> Island:
        from solvers.tabu import Tabu

        return Tabu(start)


class QuantumApproximation(_Anything):
    """QAOA on a simulated state of as many qubits as there are variables: to see what a circuit would find, so it is run by name alone."""

    name = "qaoa"
    work_per_second = 100_000_000
    reduces = False  # a reduction would answer most graphs that it is asked about before the first gate
    limits = f"at most {QUBITS_MAX} variables, a qubit each"

    def takes(self, features: Features) -> bool:
        return features.variables <= QUBITS_MAX

    def memory_bytes(self, features: Features) -> int:
        return state_bytes(min(features.variables, QUBITS_MAX)) + 2**16

    def start(self, start: Start) -> Island:
        from solvers.quantum.qaoa import Qaoa

        return Qaoa(start)


class VariationalEigensolver(QuantumApproximation):
    """VQE with an ansatz of its own instead of QAOA's, otherwise the same."""

    name = "hybrid_vqe"

    def start(self, start: Start) -> Island:
        from solvers.quantum.vqe import Vqe

        return Vqe(start)


STRATEGIES: tuple[Strategy, ...] = (
    BranchAndBound(),
    DenseMemetic(),
    MultiSpinAnnealing(),
    VectorAnnealing(),
    ScalarAnnealing(),
    ParallelTempering(),
    TabuSearch(),
    QuantumApproximation(),
    VariationalEigensolver(),
)


def choose(features: Features) -> Strategy:
    """The first of the table that such a problem suits."""
    return next(strategy for strategy in STRATEGIES if strategy.suits(features))


def island_bytes_max(variables: int, couplings: int, name: str = "") -> int:
    """What an island takes at most on a problem of that size: of the strategy of that name, else of any that may be chosen for it."""
    whole = _worst(variables, couplings)
    if name:
        return named(name).memory_bytes(whole)
    small = _worst(min(variables, EXACT_VARIABLES_MAX), couplings)
    dense = DenseMemetic().memory_bytes(_worst(_dense_variables_max(variables, couplings), couplings))
    vectors = VectorAnnealing().memory_bytes(_worst(min(variables, VECTOR_VARIABLES_MAX), couplings))
    chosen = (BranchAndBound().memory_bytes(small), min(dense, DENSE_BYTES_MAX), vectors)
    return max(*chosen, MultiSpinAnnealing().memory_bytes(whole), ScalarAnnealing().memory_bytes(whole))


def _worst(variables: int, couplings: int) -> Features:
    """Features for which a strategy takes most."""
    return Features(
        original_variables=variables,
        original_couplings=couplings,
        variables=variables,
        couplings=couplings,
        density=1.0,
        degree_mean=2 * couplings / max(1, variables),
        degree_max=variables,
        is_integer=False,
        has_fields=True,
        weight_max=math.inf,
        strength_max=math.inf,
        levels=1,
    )


def _dense_variables_max(variables: int, couplings: int) -> int:
    """Of what reductions may leave, for which `DenseMemetic` is chosen: they leave no more couplings than there were."""
    of_many_neighbors = min(2 * couplings / DENSE_DEGREE_MIN_IN_WORDS, math.sqrt(2 * couplings / DENSE_DENSITY_MIN))
    of_half_of_all = 2 * math.sqrt(couplings)
    return min(variables, 1 + math.ceil(max(of_many_neighbors, of_half_of_all)))


def named(name: str) -> Strategy:
    """The strategy of that name, or a `ValueError`."""
    for strategy in STRATEGIES:
        if strategy.name == name:
            return strategy
    raise ValueError(f"no strategy is called {name!r}; there are {', '.join(each.name for each in STRATEGIES)}")
