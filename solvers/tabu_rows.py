"""One-flip tabu search from many starts side by side, a row each, in numpy: for problems small enough to be dense.

Each row flips the spin that gains most, or loses least, of those that it has not flipped for a while; one of these too
where that makes the row's best (Glover 1989). A step costs the same for one row as for all.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TENURE_MIN = 3  # steps for which a spin is not flipped back, and an eighth of the spins more,
TENURES = 5  # and one of so many more, in turn: else rows go round


class TabuRows:
    """Searches that maximize `½ s'Js + h's`, and the best that each has met."""

    def __init__(self, couplings: Floats, fields: Floats, starts: Floats) -> None:
        self._couplings = couplings
        self._spins = starts.copy()
        felt = self._spins @ couplings + fields
        self._gains = -2.0 * self._spins * felt
        self._objectives = 0.5 * (self._spins * (felt + fields)).sum(axis=1)
        self._free_at = np.zeros(starts.shape, np.int64)
        self._tenure = TENURE_MIN + len(fields) // 8
        self._step = 0
        self.bests = self._spins.copy()
        self.best_objectives = self._objectives.copy()

    def run(self, steps: int) -> None:
        """So many flips of each row."""
        spins, gains, objectives = self._spins, self._gains, self._objectives
        rows = np.arange(len(spins))
        for _ in range(steps):
            makes_best = gains > (self.best_objectives - objectives)[:, None]
            chosen = np.where((self._free_at <= self._step) | makes_best, gains, -np.inf).argmax(axis=1)
            gained = gains[rows, chosen]
            flipped = -spins[rows, chosen]
            spins[rows, chosen] = flipped
            gains -= self._couplings[chosen] * spins * (4.0 * flipped)[:, None]
            gains[rows, chosen] = -gained
            objectives += gained
            self._free_at[rows, chosen] = self._step + self._tenure + (7 * self._step + chosen) % TENURES
            self._step += 1
            better = objectives > self.best_objectives
            if better.any():
                self.best_objectives[better] = objectives[better]
                self.bests[better] = spins[better]
