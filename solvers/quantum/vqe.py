"""VQE, the variational quantum eigensolver (Peruzzo and others 2014), on a simulated state, improved angle by angle.

The circuit turns each qubit by an angle of its own and joins neighbors by controlled phases, layer after layer: an ansatz
that knows nothing of the problem and that today's machines can run (Kandala and others 2017). As a function of one angle
the expectation is a sine; two more circuits tell it whole, and the angle goes to its top (Nakanishi, Fujii, Todo 2020).
Of this hybrid the quantum half are the expectations and the shots, the classical one the angles. A sweep over all angles
ends with a measurement; where one gains nothing, the circuit begins anew at other angles, eight times in all.

All amplitudes are real. Unlike `solvers.quantum.qaoa`, whose circuit follows the couplings, it has an angle for each qubit
and layer, and many local optima, which is why it begins anew.
"""

import math
from dataclasses import dataclass

import numpy as np

from solvers.quantum.simulation import Floats, Simulation, Step
from solvers.quantum.states import _join_neighbors, _put_all_down, _turn
from solvers.spins import _random
from solvers.strategy import Course, Start

GAIN_MIN = 1e-6  # of the range of the objective: a sweep that gains less is the last
SPREAD = 0.3  # of the first angles around those of an even superposition


@dataclass(frozen=True)
class Options:
    layers: int = 2  # of joined neighbors, each between two of turns
    shots: int = 1024  # measured after each sweep
    starts: int = 8


class Vqe(Simulation):
    """One run, which ends when its last start gains nothing more."""

    def __init__(self, start: Start, options: Options | None = None) -> None:
        self.options = options or Options()
        super().__init__(start, self.options.shots)

    def circuits(self) -> Course:
        """One circuit, from several starts, measured after each sweep over its angles."""
        self.parameters["layers"] = self.options.layers
        for _ in range(self.options.starts):
            self.count("starts")
            yield from self._from_one_start()

    def _from_one_start(self) -> Course:
        angles, gained = self._first_angles(), np.inf
        value = yield from self.run(angles)
        yield from self.take_shots()  # of the first start, a first answer, soon
        while gained > GAIN_MIN * float(np.ptp(self.worth)):
            yield from self.climb(angles, value)
            after = yield from self.run(angles)
            gained, value = after - value, after
            self.count("sweeps")
            yield from self.tell()
            yield from self.take_shots()

    def climb(self, angles: Floats, value: float) -> Step:
        """Each angle in turn goes to where the expectation, which is `value` now, is largest while the others stay."""
        for k in range(len(angles)):
            at = angles[k]
            angles[k] = at + math.pi / 2
            above = yield from self.run(angles)
            angles[k] = at - math.pi / 2
            below = yield from self.run(angles)
            mean, rise = (above + below) / 2, (above - below) / 2
            angles[k] = at + math.atan2(rise, value - mean)
            value = mean + math.hypot(rise, value - mean)

    def run(self, angles: Floats) -> Step:
        """Runs the circuit; returns the expectation of the worth. Angle k turns qubit `k % qubits` in layer `k // qubits`."""
        real = self.state[0]
        _put_all_down(*self.state)
        for first in range(0, len(angles), self.qubits):
            if first:
                _join_neighbors(real)
                yield from self.passed(1)
            for begin, end in self.groups():
                for qubit in range(begin, end):
                    _turn(real, angles[first + qubit], qubit)
                yield from self.passed(end - begin)
        return (yield from self.expectation())

    def _first_angles(self) -> Floats:
        """Near an even superposition, by the seed: exactly there, no angle of the later layers would gain anything."""
        count = self.qubits * (1 + self.options.layers)
        drawn = np.array([(int(_random(self._drawing)) >> 11) * 2.0**-53 for _ in range(count)])
        angles: Floats = SPREAD * (2.0 * drawn - 1.0)
        angles[: self.qubits] += math.pi / 2
        return angles
