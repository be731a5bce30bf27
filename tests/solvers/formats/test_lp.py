"""LP files: the subset that says a QUBO, as dimod reads and writes it, and what lies beyond, refused by name."""

import dimod
import numpy as np
import pytest

from solvers.formats import FormatError, parse, write
from solvers.qubo import Convention, Qubo
from solvers.verify import recompute

SMALL = rb"""\ a comment
Maximize
 profit: 2 x - y + 3
  + [ 4 x * y - 2 x ^ 2 + y * z ] / 2 - 0.5 z
Subject To
Bounds
 0 <= x <= 1
 y <= 1
Binaries
 z x
 y
End
"""


def test_an_objective_over_binaries_is_a_problem_counted_once():
    qubo = parse(SMALL)
    assert (qubo.sense, qubo.convention, qubo.labels) == ("max", Convention.COUNTED_ONCE, ("z", "x", "y"))
    for z, x, y in np.ndindex(2, 2, 2):
        expected = 2 * x - y + 3 + (4 * x * y - 2 * x + y * z) / 2 - 0.5 * z
        assert qubo.value([z, x, y]) == recompute(SMALL, [z, x, y]) == expected


def test_whole_numbers_stay_whole_when_a_bracket_is_halved():
    qubo = parse(b"min\n obj: [ 4 a*b ]/2 + 3 a\nbin\n a b\nend\n")
    assert qubo.is_integer
    assert qubo.value([1, 1]) == 5
    assert parse(b"min\n obj: [ 4 a*b ]\nbin\n a b\nend\n").value([1, 1]) == 4


@pytest.mark.parametrize("weight", [3, 0.1])
def test_what_we_write_dimod_reads(weight):
    terms = ([0, 1, 0, 2], [0, 1, 2, 1], [weight, 4 * weight, -5 * weight, 7 * weight])
    qubo = Qubo.from_terms(3, terms, convention=Convention.COUNTED_ONCE, sense="min")
    objective = dimod.lp.loads(write(qubo, "lp").decode()).objective
    for x in np.ndindex(2, 2, 2):
        assert objective.energy({f"x{i}": bit for i, bit in enumerate(x)}) == pytest.approx(qubo.value(x))


def test_what_dimod_writes_is_read_with_its_energies():
    bqm = dimod.BinaryQuadraticModel({"a": 1.5, "b": -2.0}, {("a", "b"): 0.25, ("b", "c"): 3.0}, "BINARY")
    content = dimod.lp.dumps(dimod.ConstrainedQuadraticModel.from_bqm(bqm)).encode()
    qubo = parse(content)
    for x in np.ndindex(2, 2, 2):
        assert qubo.value(x) == bqm.energy(dict(zip(qubo.labels, x, strict=True))) == recompute(content, x)


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"hello\n", 1, "begins with Minimize or Maximize, not 'hello'"),
        (b"min\n obj: x\nend\n", 2, "'x' is not listed under Binaries"),
        (b"min\n obj: x\nst\n c1: x >= 1\nbin\n x\nend\n", 4, "only binary variables and an objective"),
        (b"min\n obj: x\ngenerals\n x\nend\n", 4, "only binary variables"),
        (b"min\n obj: x\nbounds\n x <= 7\nbin\n x\nend\n", 4, "a bound other than 0 and 1"),
        (b"min\n obj: [ x * y \nbin\n x y\nend\n", 3, "the bracket is not closed"),
        (b"min\n obj: [ x ]\nbin\n x\nend\n", 2, "a product of two variables"),
        (b"min\n obj: [ x ^ 3 ]\nbin\n x\nend\n", 2, "only be squared"),
        (b"min\n obj: [ x ^ 2 ] / 3\nbin\n x\nend\n", 2, "only be divided by 2"),
        (b"min\n obj: 1e999 x\nbin\n x\nend\n", 2, "does not fit"),
        (b"min\n obj: nan x\nbin\n x\nend\n", 2, "'nan' is not listed"),
        (b"min\n obj: + + \nbin\n x\nend\n", 3, "a term should be here"),
        (b"min\n obj: x\nbin\n x\nend\nmore\n", 6, "behind the end"),
        ("min\n obj: ä\n".encode(), 2, "nothing but ASCII"),
        (b"min\n obj: x\0\n", 2, "has no meaning"),
    ],
)
def test_what_is_no_qubo_is_refused_with_the_line_and_the_reason(content, line, reason):
    with pytest.raises(FormatError, match=reason) as refused:
        parse(content, format="lp")
    assert refused.value.line == line
