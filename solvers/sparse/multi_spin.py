"""Annealing of 64 replicas that are crossed into one best solution: the strategies for sparse problems.

Phase k anneals 64 random replicas for `sweeps_first · 2^k` sweeps, and crosses all of them into the one best solution;
then, until `reheats` times in a row have gained nothing, all replicas begin from the best, at about the hottest
temperature, are annealed for as many sweeps and crossed into it. Lengths double because no one length suits both an
easy problem and a hard one. Where whole phases gain nothing, a new lineage begins from nothing, and what it comes to
is crossed with the best of all: two good solutions that differ in many places join to a better one, and no seed is left
where it got stuck. (A seed of G81 stayed at 14,050 without, and comes to 14,056 in 18 s of CPU.)

`MultiSpin` sweeps them by adders of words, `VectorAnnealing` in vectors of floats.

Crossing by parts (see `solvers.spins._cross`) joins what 64 replicas have found in different places, so on graphs
that fall apart into such places (grids, very sparse ones) a round gains what 64 rounds would. Where they don't, long
anneals make the result, and these double; so one course suits both. The temperatures are the same for all: what a
spin's couplings would make at random, times 0.35 to begin with and 0.06 at the end. Measured in the CPU seconds of
one core, best known values behind the names, of two or three seeds each:

- reheats from 0.35 to 0.9 of the hottest temperature, a hundred sweeps each: G81 (14,060) 14,048 after 5 s, G55
  (10,299) 10,293 after 4 s; from 0.9 to 1.2 and 600 sweeps: 14,052 to 14,054;
- lengths that double with the phases, reheats from 0.7 to 1.2: to 10,294 on G55 with two, four and eight of them 2.6,
  0.6 and 1.4 s (medians of seven seeds), to 14,178 on G60 0.3, 0.4 and 0.9 s; G81 14,050 to 14,056 after 15 s.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from solvers.csr import row_sums
from solvers.ising import Ising
from solvers.search import AnnealingOptions, temperature_range
from solvers.seeding import seeded_state
from solvers.sparse.counters import Counters
from solvers.sparse.lanes import Lanes
from solvers.sparse.replicas import Replicas, Sweeper
from solvers.sparse.words import LANES
from solvers.spins import _random
from solvers.strategy import Course, Island, Spins, Start

SWEEPS_MAX = 1 << 20  # of one anneal, where the doubling ends
GLANCE_SWEEPS, GLANCE_LANES = 4, 2  # for a first answer, before all replicas of a large problem have come through
SPINS_PER_KEEP = 1 << 21  # of large problems the best is looked at before all replicas are crossed


@dataclass(frozen=True)
class Options:
    """Temperatures as fractions of what is measured in the problem; nothing here depends on its size or name."""

    hottest: float = 0.35  # of the typical strength of a spin's couplings
    coldest: float = 0.06
    reheat_low: float = 0.7  # of the hottest temperature
    reheat_high: float = 1.2
    sweeps_first: int = 64
    reheats: int = 4  # in a row that gain nothing, before lengths double
    patience: int = 2  # phases in a row that gain nothing, before a lineage ends; one more with each


class ReplicaAnnealing(Island):
    """One run of 64 replicas, whatever they are swept by."""

    meeting_work = 20_000_000
    """A few rounds on large graphs. Two islands needed 1.8 times less work each than one to 14,042 on G81, 1.7 meeting a fifth as often."""

    def __init__(
        self, start: Start, sweeper: Sweeper, state: NDArray[np.uint64], temperatures: tuple[float, float]
    ) -> None:
        super().__init__(start)
        self.options = Options()
        self._state = state
        self._replicas = Replicas(start.problem, sweeper, state)
        self._hottest, self._coldest = temperatures
        self._shown: Spins | None = None
        self._has_settled = False
        self.parameters |= {"hottest": self._hottest, "coldest": self._coldest, "replicas": LANES}

    @property
    def steps(self) -> int:
        return self._replicas.steps

    @property
    def has_answer(self) -> bool:
        """Not yet where it has but begun from one state of all spins, which is worth nothing."""
        return self._has_settled

    def course(self) -> Course:
        """Phases of growing length without an end."""
        replicas, options = self._replicas, self.options
        if len(self.best) == 0:
            return
        if self.start.warm is not None:
            replicas.best[:] = self.start.warm
        yield from self._finish(replicas.load)
        self.keep(replicas.best, replicas.best_twice)
        if self.start.warm is not None:
            yield from self._reheat(options.sweeps_first)
        else:
            replicas.randomize()
            yield from self._round(self._hottest, GLANCE_SWEEPS, GLANCE_LANES)
            yield from self._finish(replicas.settle)
            yield from self._finish(replicas.load)
            self.keep(replicas.best, replicas.best_twice)
        self._has_settled = True
        patience = options.patience
        while True:
            yield from self._lineage(patience)
            patience += 1
            yield from self._join()

    def _lineage(self, patience: int) -> Course:
        """Phases of growing length, until so many in a row have gained nothing."""
        replicas, options = self._replicas, self.options
        sweeps, barren = options.sweeps_first, 0
        while barren < patience:
            self.parameters["sweeps"] = sweeps
            began_at = replicas.best_twice
            replicas.randomize()
            yield from self._round(self._hottest, sweeps)
            failed = 0
            while failed < options.reheats:
                before = replicas.best_twice
                yield from self._reheat(sweeps)
                failed = 0 if replicas.best_twice > before else failed + 1
            barren = 0 if replicas.best_twice > began_at else barren + 1
            sweeps = min(2 * sweeps, SWEEPS_MAX)

    def _join(self) -> Course:
        """What the lineage has found is crossed with the best of all, and of the neighbor; the next one begins from nothing."""
        self.count("lineages")
        yield from self._take_other(self.best)
        if self._shown is not None:
            yield from self._take_other(self._shown)
        self._replicas.best[:] = 1
        yield from self._finish(self._replicas.load)

    def _reheat(self, sweeps: int) -> Course:
        """All replicas begin from the best, at a temperature drawn at random."""
        low, high = self.options.reheat_low, self.options.reheat_high
        drawn = (int(_random(self._state)) >> 11) * 2.0**-53
        self._replicas.spread(self._replicas.best)
        yield from self._round(self._hottest * (low + (high - low) * drawn), sweeps)

    def _round(self, hottest: float, sweeps: int, lanes: int = LANES) -> Course:
        """One anneal of all replicas, a descent, and the crossing of so many with the best; then a look at the neighbor's."""
        replicas = self._replicas
        replicas.prepare(hottest, self._coldest, sweeps)
        yield from self._finish(replicas.anneal)
        yield from self._finish(replicas.descend)
        yield from self._cross(lanes)
        self.count("rounds")
        shown = yield from self.meet()
        if shown is not None:
            self._shown = shown
            if "lineages" not in self.counts:  # later ones go their own way, and are joined at their ends
                yield from self._take_other(shown)

    def _cross(self, lanes: int) -> Course:
        """Crosses the first so many replicas with the best."""
        at_once = max(1, min(lanes, SPINS_PER_KEEP // len(self.best)))
        for lane in range(0, lanes, at_once):
            yield from self._finish(partial(self._replicas.cross, lane, min(lanes, lane + at_once)))
            if self.keep(self._replicas.best, self._replicas.best_twice):
                self.count("improvements")

    def _take_other(self, shown: Spins) -> Course:
        """What another lineage or island has found is crossed with this one's best like a replica."""
        self._replicas.put(shown, 0)
        yield from self._cross(1)

    def _finish(self, step: Callable[[int], bool]) -> Course:
        """A piece of work to its end, left after each kernel call."""
        self._replicas.begin()
        done = False
        while not done:
            done = step(self.work_stop)
            yield None


class MultiSpin(ReplicaAnnealing):
    """For whole weights that add up to at most 127 around each spin."""

    def __init__(self, start: Start) -> None:
        state = seeded_state(start.seed, start.stream)
        strength = typical_strength(start.problem)
        temperatures = Options.hottest * strength, Options.coldest * strength
        super().__init__(start, Counters(start.problem, state), state, temperatures)


class VectorAnnealing(ReplicaAnnealing):
    """For weights of any kind. The last temperature is that of `solvers.annealing`: weights may span orders of magnitude."""

    def __init__(self, start: Start) -> None:
        state = seeded_state(start.seed, start.stream)
        _, coldest = temperature_range(start.problem, AnnealingOptions())
        hottest = max(Options.hottest * typical_strength(start.problem), coldest)
        super().__init__(start, Lanes(start.problem, state), state, (hottest, coldest))


def typical_strength(problem: Ising) -> float:
    """The field that a spin's couplings would make if all others were random: root mean square over the spins."""
    squares = row_sums(problem.indptr, problem.weights.astype(np.float64) ** 2) + problem.fields.astype(np.float64) ** 2
    return float(np.sqrt(squares.sum() / max(1, len(squares)))) or 1.0
