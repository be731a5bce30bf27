"""QAOA, the quantum approximate optimization algorithm (Farhi, Goldstone, Gutmann 2014), on a simulated state.

A circuit of depth p turns the phases of an even superposition by the objective and mixes all qubits, p times in turn,
by 2p angles; measured, it gives good assignments with a chance that grows with p. The angles are found for one depth
after another: the first from where they are best on graphs without triangles (Wang, Hadfield, Jiang, Rieffel 2018),
each further one by interpolating those before (Zhou, Wang, Choi, Pichler, Lukin 2020), improved by BFGS on the exact
gradient. That is computed by running the circuit backwards with a second state beside the first, which takes about
four times as long as running it once, however many angles there are.

At each depth the circuit is measured `shots` times, and the best assignment that was seen is kept as it is. A simulator
has the worth of every assignment before it; nothing of that goes into an answer that no circuit would have measured.
"""

import math
from dataclasses import dataclass

import numpy as np

from solvers.quantum.simulation import Floats, Simulation, State, Step
from solvers.quantum.states import _mix, _slope_of_mix, _slope_of_phase, _spread_evenly, _turn_phases, _weigh
from solvers.spins import _random
from solvers.strategy import Course, Start

PHASE_GATES = 8  # that a turn of phases takes as long as: its sines
STEPS_MAX = 50  # of BFGS, at a depth
FIRST_STEP = 0.1  # the largest change of an angle in the first one
GAIN_MIN = 1e-6  # of the range of the objective: a step that gains less is the last
SHORTEST = 2.0**-20  # of a line search
ENOUGH = 1e-4  # of the gain that the slope promises (Armijo)
TINY = 1e-300


@dataclass(frozen=True)
class Options:
    depth_max: int = 8
    shots: int = 1024  # measured at each depth


class Qaoa(Simulation):
    """One run, which ends after its deepest circuit. Island 0 begins where theory says, the others at angles drawn at random."""

    def __init__(self, start: Start, options: Options | None = None) -> None:
        self.options = options or Options()
        super().__init__(start, self.options.shots)

    def circuits(self) -> Course:
        """Circuits of growing depth, each improved, then measured."""
        angles = self._first_angles()
        yield from self.run(angles)
        yield from self.take_shots()  # a first answer, soon
        for depth in range(1, self.options.depth_max + 1):
            angles = yield from self.maximize(angles)
            self._note(angles)
            yield from self.tell()
            yield from self.take_shots()
            angles = np.concatenate([_interpolated(angles[:depth]), _interpolated(angles[depth:])])

    def maximize(self, angles: Floats) -> Step:
        """BFGS from these angles, those of the phases first, then those of the mixes; returns better ones, of which the state is then."""
        least = GAIN_MIN * float(np.ptp(self.worth))
        value = yield from self.run(angles)
        slope = yield from self.slope(angles)
        inverse = np.eye(len(angles)) * FIRST_STEP / max(float(np.abs(slope).max()), least, TINY)
        for number in range(STEPS_MAX):
            direction = inverse @ slope
            length, new = yield from self._search(angles, direction, value, float(slope @ direction))
            gained, value = new - value, new
            if gained <= least:
                break
            angles, before = angles + length * direction, slope
            slope = yield from self.slope(angles)
            inverse = _updated(inverse, length * direction, before - slope, is_first=number == 0)
        yield from self.run(angles)
        return angles

    def _search(self, angles: Floats, direction: Floats, value: float, promised: float) -> Step:
        """Along a direction: a length that gains enough, and the expectation there; 0 and the old one where none does."""
        length = 1.0
        while length > SHORTEST and promised > 0.0:
            new = yield from self.run(angles + length * direction)
            if new >= value + ENOUGH * length * promised:
                return length, new
            length /= 2
        return 0.0, value

    def run(self, angles: Floats) -> Step:
        """Runs the circuit; returns the expectation of the worth."""
        depth = len(angles) // 2
        _spread_evenly(*self.state)
        for phase, mix in zip(angles[:depth], angles[depth:], strict=True):
            _turn_phases(*self.state, self.worth, phase)
            yield from self.passed(PHASE_GATES)
            yield from self._mixed(self.state, mix)
        return (yield from self.expectation())

    def slope(self, angles: Floats) -> Step:
        """What the expectation gains with each angle, by running the circuit of the state backwards."""
        depth = len(angles) // 2
        slope = np.zeros(2 * depth)
        _weigh(*self.state, self.worth, *self.other)
        yield from self.passed(2)
        for layer in reversed(range(depth)):
            for first, end in self.groups():
                slope[depth + layer] += _slope_of_mix(*self.state, *self.other, first, end)
                yield from self.passed(end - first)
            for state in (self.state, self.other):
                yield from self._mixed(state, -angles[depth + layer])
            slope[layer] = _slope_of_phase(*self.state, *self.other, self.worth)
            for state in (self.state, self.other):
                _turn_phases(*state, self.worth, -angles[layer])
                yield from self.passed(PHASE_GATES)
        return slope

    def _mixed(self, state: State, angle: float) -> Step:
        for first, end in self.groups():
            _mix(*state, angle, first, end)
            yield from self.passed(end - first)

    def _note(self, angles: Floats) -> None:
        """The angles, in units of the objective that the kernels maximize."""
        depth = len(angles) // 2
        self.parameters["depth"] = depth
        for layer in range(depth):
            self.parameters[f"gamma_{layer + 1}"] = float(angles[layer]) / self.unit
            self.parameters[f"beta_{layer + 1}"] = float(angles[depth + layer])

    def _first_angles(self) -> Floats:
        """Of depth one: the best on graphs without triangles whose spins have as many neighbors, or drawn at random."""
        if self.start.stream > 0:
            drawn = [(int(_random(self._drawing)) >> 11) * 2.0**-53 for _ in range(2)]
            return np.array([drawn[0] * math.pi / 2, drawn[1] * math.pi / 4])
        neighbors = len(self.start.problem.indices) / self.qubits
        return np.array([math.atan(1.0 / math.sqrt(max(neighbors - 1.0, 1e-3))) / 2, math.pi / 8])


def _interpolated(angles: Floats) -> Floats:
    """One more angle than these, along the same line."""
    depth = len(angles)
    share = np.arange(depth + 1) / depth
    return share * np.concatenate(([0.0], angles)) + (1.0 - share) * np.concatenate((angles, [0.0]))


def _updated(inverse: Floats, step: Floats, fall: Floats, *, is_first: bool) -> Floats:
    """BFGS: the inverse of the second derivatives, negative, after a step along which the slope has fallen by so much."""
    curvature = float(step @ fall)
    if curvature <= TINY:
        return inverse
    if is_first:
        inverse = np.eye(len(step)) * curvature / float(fall @ fall)
    left = np.eye(len(step)) - np.outer(step, fall) / curvature
    updated: Floats = left @ inverse @ left.T + np.outer(step, step) / curvature
    return updated
