"""What islands that simulate circuits have in common: the worth of all assignments, shots, counted gates, and how good a state is."""

from abc import abstractmethod
from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.enumeration import spectrum, twice_objective
from solvers.quantum.sizes import QUBITS_MAX
from solvers.quantum.states import _add_up, _expectation, _measure
from solvers.seeding import seeded_state
from solvers.strategy import Course, Island, Start

Floats = NDArray[np.float64]
State = tuple[Floats, Floats]
Step = Generator[None, None, Any]

GATES_PER_CALL = 1 << 22  # amplitudes that one call passes over: some 10 ms
LANES = 4  # amplitudes that take as long as a step of work
SAME = 1e-9  # of the range: assignments that differ by less are as good as each other


class Simulation(Island):
    """A run on a simulated state; a strategy writes what its circuits are, in `circuits`."""

    def __init__(self, start: Start, shots: int) -> None:
        super().__init__(start)
        self.qubits = len(start.problem.fields)
        assert self.qubits <= QUBITS_MAX, f"{self.qubits} qubits: at most {QUBITS_MAX} are simulated"
        self.worth = np.zeros(0)
        """Of each assignment: its objective, in units of a typical coupling."""
        self.unit = _typical(start)
        self.state, self.other = state_of(0), state_of(0)
        """The state of the circuit, and room beside it."""
        self._shots = shots
        self._drawing = seeded_state(start.seed, start.stream)
        self._work = 0

    @property
    def steps(self) -> int:
        """Amplitudes passed over, by four."""
        return self._work

    @abstractmethod
    def circuits(self) -> Course:
        """Circuits that become better, each measured now and then; begins when `worth` is there."""

    def course(self) -> Course:
        if self.qubits == 0:
            return
        if self.start.warm is not None:
            self.keep(self.start.warm, twice_objective(self.start.problem, self.start.warm))
        yield from self.begin()
        self.parameters |= {"qubits": self.qubits, "shots": self._shots}
        yield from self.circuits()

    def begin(self) -> Step:
        """Looks at what all assignments are worth, which every expectation needs."""
        self.worth = spectrum(self.start.problem) / self.unit
        self.state, self.other = state_of(len(self.worth)), state_of(len(self.worth))
        yield from self.passed(self.qubits)

    def expectation(self) -> Step:
        """Returns what an assignment is worth in the mean that is measured in the state."""
        self.count("circuits")
        expectation = _expectation(*self.state, self.worth)
        yield from self.passed(1)
        return expectation

    def take_shots(self) -> Step:
        """Measures the state and keeps the best assignment that is seen."""
        sums = self.other[0]
        _add_up(*self.state, sums)
        seen = int(_measure(sums, self.worth, self._shots, self._drawing))
        self.count("shots", self._shots)
        spins = np.array([1 if seen >> i & 1 else -1 for i in range(self.qubits)], np.int8)
        self.keep(spins, twice_objective(self.start.problem, spins))
        yield from self.passed(2)

    def tell(self) -> Step:
        """How good the state is, which on a real machine only many shots would tell."""
        chances = self.state[0] ** 2 + self.state[1] ** 2
        worst, best = float(self.worth.min()), float(self.worth.max())
        span = best - worst
        self.parameters["ratio"] = (float(chances @ self.worth) - worst) / span if span else 1.0
        self.parameters["optimum_chance"] = float(chances[self.worth >= best - SAME * span].sum())
        yield from self.passed(4)

    def groups(self) -> list[tuple[int, int]]:
        """The qubits, from and to before, as many at a time as one call may pass over."""
        size = max(1, GATES_PER_CALL >> self.qubits)
        return [(first, min(first + size, self.qubits)) for first in range(0, self.qubits, size)]

    def passed(self, gates: int) -> Step:
        """Counts gates on all amplitudes; here the run can be left."""
        self._work += max(1, gates * len(self.worth) // LANES)
        yield None


def state_of(size: int) -> State:
    """Room for the real and the imaginary parts of so many amplitudes."""
    return np.empty(size), np.empty(size)


def _typical(start: Start) -> float:
    """The root mean square of the couplings, or of the fields where there are none."""
    for values in (start.problem.weights, start.problem.fields):
        if (strength := float(np.sqrt(np.mean(values.astype(np.float64) ** 2))) if len(values) else 0.0) > 0.0:
            return strength
    return 1.0
