"""dimod's coordinate text: the same as dimod reads and writes."""

import dimod
import numpy as np
import pytest
from dimod.serialization import coo

from solvers.formats import FormatError, parse, write
from solvers.qubo import Convention, Qubo


@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
def test_what_dimod_writes_is_read_with_its_energies(vartype):
    bqm = dimod.BinaryQuadraticModel({0: 1.5, 3: -2.25}, {(0, 3): 0.125, (1, 3): 4.0}, vartype)
    qubo = parse(coo.dumps(bqm, vartype_header=True).encode())
    assert (qubo.variables, qubo.sense) == (4, "min")
    for x in np.ndindex(2, 2, 2, 2):
        sample = 2 * np.array(x) - 1 if vartype == "SPIN" else np.array(x)
        energy = bqm.energy({0: sample[0], 1: sample[1], 3: sample[3]})
        assert qubo.value(x) == energy


@pytest.mark.parametrize("convention", [Convention.SPINS, Convention.COUNTED_ONCE])
def test_what_we_write_dimod_reads_with_every_variable_and_every_digit(convention):
    qubo = Qubo.from_terms(4, ([0, 0], [0, 2], [1e-9, 1e22 / 3]), convention=convention, sense="min")
    bqm = coo.loads(write(qubo, "coo").decode())
    assert bqm.num_variables == 4
    assert bqm.quadratic[0, 2] == 1e22 / 3
    assert bqm.linear[0] == 1e-9
    assert parse(write(qubo, "coo")).value([1, 1, 1, 1]) == qubo.value([1, 1, 1, 1])


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"0 1 5\n", 1, "the kind of variables is missing"),
        (b"# vartype=TERNARY\n0 1 5\n", 1, "should be BINARY or SPIN"),
        (b"# vartype=SPIN\n0 1 5\n# vartype=BINARY\n", 3, "another vartype"),
        (b"# vartype=SPIN\n0 1 5\n0 -1 5\n", 3, "index -1 is out of range"),
        (b"# vartype=SPIN\n0 1\n", 2, "three fields, not 2"),
        (b"# vartype=SPIN\n0 1 5\n0 2000000000 5\n", 3, "bytes of memory"),
    ],
)
def test_a_broken_file_is_refused_with_the_line_and_the_reason(content, line, reason):
    with pytest.raises(FormatError, match=reason) as refused:
        parse(content, format="coo")
    assert refused.value.line == line
