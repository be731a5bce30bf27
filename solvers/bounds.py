"""Bounds on dense problems of spins from convex quadratics.

To maximize `½ s'Js + h's` over spins, where the first d of them are fixed and `g = h_R + J_RF s_F` is the field that the
rest R feels, add `½ u_i (1 - s_i²) = 0` for each spin of R. For any u with `A = diag(u) - J_RR` positive definite,

    max over spins ≤ max over real s of ½ Σu + g's - ½ s'As = ½ Σu + ½ g'A⁻¹g.

This is the dual of the semidefinite relaxation, met in sphere decoding and in Buchheim, Caprara and Lodi (2012).

The u is found by Newton's method: it minimizes the bound's mean at the root, `½ Σu + ½ tr(A⁻¹ G)`, where G is the second
moment of the fields, h h' and a little for what fixed spins will add. One u serves all depths: to find another every six,
for fields as they are met there, took longer and four to eleven times the nodes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.matrices import inverse, product

Floats = NDArray[np.float64]

STEP_MIN = 1e-6  # of Newton's method, below which it is given up
PRECISION = 1e-3


class Bound(NamedTuple):
    """A u, A⁻¹ that goes with it, and the mean that was minimized."""

    shifts: Floats
    inverse: Floats
    mean: float


def improve(couplings: Floats, moments: Floats, shifts: Floats, steps: int) -> Bound:
    """At most so many of Newton's steps from a u that makes A positive definite, each shortened until it pays.

    The gradient is `½ - ½ diag(A⁻¹GA⁻¹)`, the Hessian `A⁻¹ ∘ A⁻¹GA⁻¹`, which is positive definite where G is.
    """
    bound = _bound(couplings, moments, shifts)
    assert bound is not None
    for _ in range(steps):
        turned = product(product(bound.inverse, moments), bound.inverse)
        curvature = inverse(bound.inverse * turned)
        if curvature is None:
            break
        step = curvature @ (0.5 * turned.diagonal() - 0.5)
        better = _shorten(couplings, moments, bound, step)
        if better is None:
            break
        gained, bound = bound.mean - better.mean, better
        if gained < PRECISION * abs(bound.mean):
            break
    return bound


def without_first(inverse: Floats) -> Floats:
    """A⁻¹ of the same u with one more spin fixed."""
    column = inverse[1:, 0]
    shorter: Floats = inverse[1:, 1:] - np.outer(column, column / inverse[0, 0])
    return shorter


def order_of(inverse: Floats) -> NDArray[np.int64]:
    """The rows, each time the one whose diagonal element is the least, as A⁻¹ of the rest says: the one the others leave the least room."""
    rest = inverse.copy()
    is_taken = np.zeros(len(rest), np.bool_)
    order = np.empty(len(rest), np.int64)
    for place in range(len(rest)):
        chosen = int(np.where(is_taken, np.inf, rest.diagonal()).argmin())
        order[place] = chosen
        is_taken[chosen] = True
        rest -= np.outer(rest[:, chosen], rest[chosen] / rest[chosen, chosen])
    return order


def _shorten(couplings: Floats, moments: Floats, bound: Bound, step: Floats) -> Bound | None:
    length = 1.0
    while length > STEP_MIN:
        better = _bound(couplings, moments, bound.shifts + length * step)
        if better is not None and better.mean < bound.mean:
            return better
        length *= 0.5
    return None


def _bound(couplings: Floats, moments: Floats, shifts: Floats) -> Bound | None:
    """None where A is not positive definite."""
    found = inverse(np.diag(shifts) - couplings)
    if found is None:
        return None
    return Bound(shifts, found, float(0.5 * shifts.sum() + 0.5 * (found * moments).sum()))
