"""dimod's binary files: the same as dimod reads and writes, and each damage by name."""

import struct

import dimod
import numpy as np
import pytest

from solvers.formats import FormatError, parse, write
from solvers.qubo import Convention, Qubo
from solvers.verify import recompute


def model(vartype, labels=None, dtype=np.float64):
    bqm = dimod.generators.gnm_random_bqm(9, 20, vartype, random_state=3)
    bqm.offset = 1.5
    if labels is not None:
        bqm.relabel_variables(dict(enumerate(labels)))
    return dimod.BinaryQuadraticModel(bqm, dtype=dtype)


def written(bqm, **options):
    with bqm.to_file(**options) as file:
        return file.read()


@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("labels", [None, "abcdefghi", [("a", k) for k in range(9)]])
def test_what_dimod_writes_is_read_with_its_energies(vartype, dtype, version, labels):
    bqm = model(vartype, labels, dtype)
    content = written(bqm, version=version)
    qubo = parse(content)
    assert (qubo.sense, qubo.variables, qubo.couplings) == ("min", 9, 20)
    assert len(qubo.labels) == (0 if labels is None else 9)
    rng = np.random.default_rng(1)
    for _ in range(20):
        x = rng.integers(0, 2, 9)
        sample = 2 * x - 1 if vartype == "SPIN" else x
        energy = bqm.energy((sample, list(bqm.variables)))
        assert qubo.value(x) == pytest.approx(energy, rel=1e-5)
        assert recompute(content, x) == pytest.approx(qubo.value(x), rel=1e-12)


@pytest.mark.parametrize("convention", [Convention.SPINS, Convention.COUNTED_ONCE])
@pytest.mark.parametrize("labels", [(), ("a", "b", "c")])
def test_what_we_write_dimod_reads(convention, labels):
    terms = ([0, 1, 0, 2], [0, 1, 2, 1], [3, 4, -5, 7])
    qubo = Qubo.from_terms(3, terms, convention=convention, sense="min", offset=2, labels=labels)
    bqm = dimod.BinaryQuadraticModel.from_file(write(qubo, "bqm"))
    for x in np.ndindex(2, 2, 2):
        sample = 2 * np.array(x) - 1 if convention is Convention.SPINS else np.array(x)
        assert bqm.energy((sample, list(labels or range(3)))) == qubo.value(x)
    assert parse(write(qubo, "bqm")).labels == labels


def test_floats_that_are_whole_numbers_are_kept_as_such():
    bqm = dimod.BinaryQuadraticModel({0: 1.0, 1: -2.0}, {(0, 1): 100.0}, 3.0, "SPIN")
    qubo = parse(written(bqm))
    assert qubo.weights.dtype == np.int8
    assert qubo.value([1, 1]) == 102


GOOD = write(Qubo.from_terms(2, ([0, 0], [0, 1], [2, 3]), convention=Convention.SPINS, sense="min"), "bqm")
DATA = GOOD.index(b"\n") + 1 + (-(GOOD.index(b"\n") + 1)) % 64


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (GOOD[:10], "magic"),
        (GOOD.replace(b"BQM\x02", b"BQM\x07"), "version 7"),
        (GOOD[:10] + b"\xff\xff\xff\x7f" + GOOD[14:], "header of 2147483647 bytes"),
        (GOOD.replace(b"SPIN", b"SPOT"), "vartype"),
        (GOOD.replace(b"float64", b"floaty4"), "dtype"),
        (GOOD.replace(b"[2, 1]", b"[2,-1]"), "shape"),
        (GOOD.replace(b"[2, 1]", b"[9, 1]"), "linear biases take 144 bytes"),
        (GOOD[:-1], "quadratic biases take 24 bytes; 23"),
        (GOOD[: DATA + 8] + struct.pack("<q", 5) + GOOD[DATA + 16 :], "starts"),
        (GOOD[:-12] + struct.pack("<id", 1, 3), "own neighbor"),
        (GOOD[:-12] + struct.pack("<id", 0, 4), "directions"),
        (GOOD[:-12] + struct.pack("<id", 7, 3), "out of range"),
        (GOOD[:DATA] + struct.pack("<d", float("nan")) + GOOD[DATA + 8 :], "NaN"),
        (GOOD.replace(b'"variables": false', b'"variables": true '), "labels are missing"),
    ],
)
def test_a_broken_file_is_refused_by_name(content, reason):
    with pytest.raises(FormatError, match=reason):
        parse(content, format="bqm")
