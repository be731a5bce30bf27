"""Published generators of problems, so that there is work without files, some of it with values known from the literature.

- `palubeckis`: the dense random QUBOs of G. Palubeckis (2004), from his generator's text (u01qp_inst_gen, 2002): a
  Lehmer generator `seed = 16807 seed mod (2^31 - 1)`, one draw a diagonal term, one a pair against the density (in
  single precision), one more a weight that is there. The best known values are those of the metadata list of R.
  Liang's qubo-benchmark-instances, maximized, off-diagonals counted twice.
- `toroidal_grid`: rudy's 2D ±1 grids (G. Rinaldi), the family of Gset's largest graphs, from our own seeded
  generator: these very instances have no value in the literature.
- `sparse_random`: graphs of a given mean degree with ±1 weights; no value in the literature either.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from solvers.formats import write_bqp, write_rudy
from solvers.qubo import Convention, Qubo

Array = NDArray[Any]

PAIRS_MAX = 50_000_000


class Known(NamedTuple):
    """A published instance: what the generator takes, and the best value known."""

    variables: int
    density: int
    seed: int
    best_known: int


# fmt: off
PALUBECKIS = (
    Known(3000, 50, 31000, 3931583), Known(3000, 80, 32000, 5193073), Known(3000, 80, 33000, 5111533),
    Known(3000, 100, 34000, 5761822), Known(3000, 100, 35000, 5675625),
    Known(4000, 50, 41000, 6181830), Known(4000, 80, 42000, 7801355), Known(4000, 80, 43000, 7741685),
    Known(4000, 100, 44000, 8711822), Known(4000, 100, 45000, 8908979),
    Known(5000, 50, 51000, 8559680), Known(5000, 80, 52000, 10836019), Known(5000, 80, 53000, 10489137),
    Known(5000, 100, 54000, 12252318), Known(5000, 100, 55000, 12731803),
    Known(6000, 50, 61000, 11384976), Known(6000, 80, 62000, 14333855), Known(6000, 100, 64000, 16132915),
    Known(7000, 50, 71000, 14478676), Known(7000, 80, 72000, 18249948), Known(7000, 100, 74000, 20446407),
)
# fmt: on


class DemoProblem(NamedTuple):
    """A problem as a file's bytes, and the best value known, or None."""

    name: str
    format: str
    content: bytes
    best_known: int | None


def demo_problems() -> list[DemoProblem]:
    """A few problems of different kinds, each made in under a second and solved near its best in ten."""
    known = PALUBECKIS[0]
    dense = palubeckis(known.variables, known.density, known.seed)
    cuts = [toroidal_grid(60, 60, 1), toroidal_grid(100, 80, 2), sparse_random(3000, 6.0, 3)]
    return [
        DemoProblem(dense.name, "bqp", write_bqp(dense), known.best_known),
        *(DemoProblem(cut.name, "rudy", write_rudy(cut), None) for cut in cuts),
    ]


def palubeckis(variables: int, density: int, seed: int) -> Qubo:
    """`density` in percent; weights from -100 to 100."""
    pairs = variables * (variables + 1) // 2
    if not 0 <= pairs <= PAIRS_MAX:
        raise ValueError(f"{pairs} pairs: at most {PAIRS_MAX} are made")
    rows, columns, weights = np.empty(pairs, np.int32), np.empty(pairs, np.int32), np.empty(pairs, np.int64)
    count = _palubeckis(variables, np.float32(density), seed, rows, columns, weights)
    terms = (rows[:count], columns[:count], weights[:count])
    name = f"palubeckis-{variables}-{density}-{seed}"
    return Qubo.from_terms(variables, terms, convention=Convention.COUNTED_TWICE, sense="max", name=name)


def toroidal_grid(height: int, width: int, seed: int) -> Qubo:
    """Max-cut on a grid that wraps around at its edges; each edge weighs +1 or -1."""
    if height < 3 or width < 3:
        raise ValueError("a grid needs three rows and columns to wrap around")
    cell = np.arange(height * width, dtype=np.int32).reshape(height, width)
    rows = np.concatenate((cell.ravel(), cell.ravel()))
    columns = np.concatenate((np.roll(cell, -1, axis=1).ravel(), np.roll(cell, -1, axis=0).ravel()))
    weights = 1 - 2 * _bits(len(rows), seed)
    name = f"grid-{height}x{width}-{seed}"
    return Qubo.from_terms(
        height * width, (rows, columns, weights), convention=Convention.MAX_CUT, sense="max", name=name
    )


def sparse_random(variables: int, degree: float, seed: int) -> Qubo:
    """Max-cut on a random graph of that mean degree; repeated edges add up, those that cancel out are gone."""
    edges = round(variables * degree / 2)
    ends = np.random.Generator(np.random.PCG64(seed)).integers(0, variables, (2, edges), dtype=np.int32)
    apart = ends[0] != ends[1]
    weights = (1 - 2 * _bits(edges, seed + 1))[apart]
    name = f"random-{variables}-{seed}"
    terms = (ends[0][apart], ends[1][apart], weights)
    return Qubo.from_terms(variables, terms, convention=Convention.MAX_CUT, sense="max", name=name)


def _bits(count: int, seed: int) -> Array:
    """PCG64's raw words: their bits are the same in every numpy, which its distributions don't promise."""
    words = np.random.PCG64(seed).random_raw(-(-count // 64))
    return np.unpackbits(words.astype("<u8").view(np.uint8))[:count].astype(np.int64)


@njit(cache=True, nogil=True)
def _palubeckis(variables: int, density: Any, seed: int, rows: Array, columns: Array, weights: Array) -> int:
    """The draws in the original order; its `(int)(r * 201) - 100` truncates before it subtracts."""
    count = 0
    state = np.int64(seed)
    for i in range(variables):
        state = (state * 16807) % 2147483647
        rows[count] = i
        columns[count] = i
        weights[count] = np.int64(state / 2147483648.0 * 201) - 100
        count += 1
        for j in range(i + 1, variables):
            state = (state * 16807) % 2147483647
            if np.float32(state / 2147483648.0 * 100) <= density:
                state = (state * 16807) % 2147483647
                rows[count] = i
                columns[count] = j
                weights[count] = np.int64(state / 2147483648.0 * 201) - 100
                count += 1
    return count
