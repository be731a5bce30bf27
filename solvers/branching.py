"""Kernels of exact search: branch and bound over dense spins, with bounds from convex quadratics.

To maximize `½ s'Js + h's` over spins, where the first d of them are fixed and `g = h_R + J_RF s_F` is the field that the
rest R feels, add `½ u_i (1 - s_i²) = 0` for each spin of R. For any u with `A = diag(u) - J_RR` positive definite,

    max over spins ≤ max over real s of ½ Σu + g's - ½ s'As = ½ Σu + ½ g'A⁻¹g.

This is the dual of the semidefinite relaxation, met in sphere decoding and in Buchheim, Caprara and Lodi (2012). Since
spins are fixed in one order, A⁻¹ stands ready for every depth, and a node costs one product of a matrix and a vector.
Fixing the next spin to v takes at least `(v - y_0)² / (2 A⁻¹_00)` off the bound, where `y = A⁻¹g`: so a child's bound is
known before it is looked at.

The u of a depth is found by Newton's method: it minimizes the bound's mean over the fields that are met there, `½ Σu +
½ tr(A⁻¹ G)`, where G is the second moment of g if fixed spins were random, plus that of the best solution known. With
the u of the root at every depth, problems of 60 spins took up to a thousand times the nodes.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

DEPTH, WORK, NODES, ENTERING, FOUND = range(5)  # what a cursor holds
CURSOR_SIZE = 5
LANES = 16  # numbers of a vector that one step works on
STEP_MIN = 1e-6  # of Newton's method, below which it is given up


@njit(cache=True, nogil=True)
def _factor(matrix: Array, size: int, factor: Array) -> bool:
    """Cholesky's lower factor, row by row, the upper part left as it was; false where the matrix is not positive definite."""
    for i in range(size):
        factor[i, : i + 1] = matrix[i, : i + 1]
    for j in range(size):
        pivot = factor[j, j]
        if not pivot > 0.0:
            return False
        pivot = np.sqrt(pivot)
        for i in range(j, size):
            factor[i, j] /= pivot
        for i in range(j + 1, size):
            scale = factor[i, j]
            for k in range(j + 1, i + 1):
                factor[i, k] -= scale * factor[k, j]
    return True


@njit(cache=True, nogil=True)
def _invert(factor: Array, size: int, lower: Array, inverse: Array) -> None:
    """The inverse of the factored matrix: `L⁻¹` by forward substitution, then `L⁻ᵀ L⁻¹`."""
    for i in range(size):
        for j in range(i):
            lower[i, j] = 0.0
        for k in range(i):
            scale = factor[i, k]
            for j in range(k + 1):
                lower[i, j] -= scale * lower[k, j]
        scale = 1.0 / factor[i, i]
        for j in range(i):
            lower[i, j] *= scale
        lower[i, i] = scale
    for i in range(size):
        for j in range(size):
            inverse[i, j] = 0.0
    for k in range(size):
        for i in range(k + 1):
            scale = lower[k, i]
            for j in range(i + 1):
                inverse[i, j] += scale * lower[k, j]
    for i in range(size):
        for j in range(i):
            inverse[j, i] = inverse[i, j]


@njit(cache=True, nogil=True)
def _mean_bound(couplings: Array, moments: Array, shifts: Array, size: int, buffers: Array, inverse: Array) -> float:
    """`½ Σu + ½ tr(A⁻¹ G)` and A⁻¹; infinite where A is not positive definite. J and G are the last rows of larger ones."""
    first = couplings.shape[0] - size
    matrix, factor, lower = buffers[0], buffers[1], buffers[2]
    for i in range(size):
        for j in range(size):
            matrix[i, j] = -couplings[first + i, first + j]
        matrix[i, i] = shifts[i]
    if not _factor(matrix, size, factor):
        return np.inf
    _invert(factor, size, lower, inverse)
    total = 0.0
    for i in range(size):
        total += 0.5 * shifts[i]
        for j in range(size):
            total += 0.5 * inverse[i, j] * moments[i, j]
    return total


@njit(cache=True, nogil=True)
def _shift(
    couplings: Array,
    moments: Array,
    shifts: Array,
    size: int,
    steps: int,
    precision: float,
    buffers: Array,
    inverse: Array,
) -> float:
    """Improves u by Newton's method, in place, and leaves A⁻¹; returns the mean bound. At first, A has to be positive definite.

    The gradient is `½ - ½ diag(A⁻¹GA⁻¹)`, the Hessian `A⁻¹ ∘ A⁻¹GA⁻¹`, which is positive definite where G is.
    """
    matrix, factor, product, turned = buffers[0], buffers[1], buffers[3], buffers[4]
    step, wanted = np.zeros(size), np.zeros(size)
    bound = _mean_bound(couplings, moments, shifts, size, buffers, inverse)
    for _ in range(steps):
        product[:size, :size] = 0.0
        turned[:size, :size] = 0.0
        for i in range(size):
            for k in range(size):
                scale = inverse[i, k]
                for j in range(size):
                    product[i, j] += scale * moments[k, j]
        for i in range(size):
            for k in range(size):
                scale = product[i, k]
                for j in range(size):
                    turned[i, j] += scale * inverse[k, j]
        for i in range(size):
            step[i] = 0.5 * turned[i, i] - 0.5
            for j in range(size):
                matrix[i, j] = inverse[i, j] * turned[i, j]
        if not _factor(matrix, size, factor):
            break
        for i in range(size):
            for k in range(i):
                step[i] -= factor[i, k] * step[k]
            step[i] /= factor[i, i]
        for i in range(size - 1, -1, -1):
            step[i] /= factor[i, i]
            for k in range(i):
                step[k] -= factor[i, k] * step[i]
        length = 1.0
        better = np.inf
        while length > STEP_MIN:
            for i in range(size):
                wanted[i] = shifts[i] + length * step[i]
            better = _mean_bound(couplings, moments, wanted, size, buffers, inverse)
            if better < bound:
                break
            length *= 0.5
        if not better < bound:
            break
        gained = bound - better
        bound = better
        shifts[:size] = wanted
        if gained < precision * abs(bound):
            break
    return _mean_bound(couplings, moments, shifts, size, buffers, inverse)


@njit(cache=True, nogil=True)
def _without_first(inverse: Array, size: int, shorter: Array) -> None:
    """The inverse of A without its first row and column, from A's."""
    for i in range(1, size):
        scale = inverse[i, 0] / inverse[0, 0]
        for j in range(1, size):
            shorter[i - 1, j - 1] = inverse[i, j] - scale * inverse[0, j]


@njit(cache=True, nogil=True)
def _choose_order(inverse: Array, order: Array) -> None:
    """The rows, each time the one whose diagonal element is the least, as A⁻¹ of the rest says; `inverse` is used up."""
    size = inverse.shape[0]
    left = np.ones(size, np.bool_)
    for place in range(size):
        chosen = -1
        for i in range(size):
            if left[i] and (chosen < 0 or inverse[i, i] < inverse[chosen, chosen]):
                chosen = i
        left[chosen] = False
        order[place] = chosen
        for i in range(size):
            if left[i]:
                scale = inverse[i, chosen] / inverse[chosen, chosen]
                for j in range(size):
                    if left[j]:
                        inverse[i, j] -= scale * inverse[chosen, j]


@njit(cache=True, nogil=True)
def _descend(
    couplings: Array, fields: Array, spins: Array, gains: Array, until: Array, best: Array, steps: int
) -> float:
    """One-flip tabu search from the spins; the best one met goes to `best`, its objective is returned."""
    size = spins.shape[0]
    objective = 0.0
    for i in range(size):
        felt = 0.0
        for j in range(size):
            felt += couplings[i, j] * spins[j]
        gains[i] = -2.0 * spins[i] * (felt + fields[i])
        objective += spins[i] * (0.5 * felt + fields[i])
        until[i] = 0
    best_objective = objective
    best[:] = spins
    tenure = size // 8 + 3
    for step in range(steps):
        chosen = -1
        for i in range(size):
            is_free = until[i] <= step or objective + gains[i] > best_objective
            if is_free and (chosen < 0 or gains[i] > gains[chosen]):
                chosen = i
        if chosen < 0:
            break
        objective += gains[chosen]
        gains[chosen] = -gains[chosen]
        spins[chosen] = -spins[chosen]
        until[chosen] = step + tenure + (step * 7 + chosen) % 5
        twice = 4.0 * spins[chosen]
        for j in range(size):
            if j != chosen:
                gains[j] -= twice * couplings[chosen, j] * spins[j]
        if objective > best_objective:
            best_objective = objective
            best[:] = spins
    return best_objective


@njit(cache=True, nogil=True)
def _most(inverses: Array, start: int, felt: Array, product: Array) -> float:
    """`½ g'A⁻¹g`, with `A⁻¹g` in `product`; A⁻¹ stands behind `start`."""
    left = felt.shape[0]
    for i in range(left):
        product[i] = 0.0
    for k in range(left):
        scale = felt[k]
        row = start + k * left
        for i in range(left):
            product[i] += scale * inverses[row + i]
    most = 0.0
    for i in range(left):
        most += 0.5 * product[i] * felt[i]
    return most


@njit(cache=True, nogil=True)
def _branch(
    couplings: Array,
    inverses: Array,
    offsets: Array,
    halves: Array,
    felt: Array,
    sums: Array,
    bounds: Array,
    means: Array,
    spins: Array,
    tried: Array,
    product: Array,
    cursor: Array,
    best: Array,
    slack: float,
    is_symmetric: bool,
    work_stop: int,
) -> None:
    """Depth first search on from the cursor, until it ends (the depth is then -1), finds a better leaf, or the work is done.

    `felt[d]` is the field and `sums[d]` the objective with d spins fixed; `best` holds the best objective. A node is left
    where its bound is below `best + slack`.
    """
    size = couplings.shape[0]
    depth = cursor[DEPTH]
    work = cursor[WORK]
    nodes = cursor[NODES]
    entering = cursor[ENTERING]
    found = 0
    while depth >= 0 and work < work_stop and found == 0:
        if entering:
            entering = 0
            if depth == size:
                if sums[depth] > best[0]:
                    best[0] = sums[depth]
                    found = 1
                depth -= 1
                continue
            nodes += 1
            work += 1 + (size - depth) ** 2 // LANES
            bound = sums[depth] + halves[depth] + _most(inverses, offsets[depth], felt[depth, depth:], product)
            if bound < best[0] + slack:
                depth -= 1
                continue
            bounds[depth] = bound
            means[depth] = product[0]
            tried[depth] = 1 if is_symmetric and depth == 0 else 0
            spins[depth] = -1.0 if product[0] >= 0.0 else 1.0
        if tried[depth] == 2:
            depth -= 1
            continue
        tried[depth] += 1
        spin = -spins[depth]
        spins[depth] = spin
        away = spin - means[depth]
        if bounds[depth] - 0.5 * away * away / inverses[offsets[depth]] < best[0] + slack:
            continue
        sums[depth + 1] = sums[depth] + spin * felt[depth, depth]
        for j in range(depth + 1, size):
            felt[depth + 1, j] = felt[depth, j] + spin * couplings[depth, j]
        depth += 1
        entering = 1
    cursor[DEPTH] = depth
    cursor[WORK] = work
    cursor[NODES] = nodes
    cursor[ENTERING] = entering
    cursor[FOUND] = found
