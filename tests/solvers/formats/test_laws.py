"""Laws of every format: what is written reads back, the file itself gives the same values, and no damage goes unnamed."""

import tracemalloc
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from solvers.formats import READERS, WRITERS, FormatError, parse, parse_all, recognise, write
from solvers.qubo import Convention, Qubo
from solvers.verify import recompute
from tests.solvers.twins import SMALL_INTEGERS, assignments, problems

TERMS = ([0, 0, 1, 3, 2], [0, 2, 3, 3, 3], [7, -2, 5, -40000, 1])
EXAMPLES = [
    Qubo.from_terms(5, TERMS, convention=convention, sense=sense)
    for convention in Convention
    for sense in ("min", "max")
]
MEMORY = 2**24


def sayable(qubo):
    """(format, its file) for every format that can say the problem."""
    for format in sorted(WRITERS):
        with suppress(ValueError):
            yield format, write(qubo, format)


def close(one, other, qubo):
    """Equal, up to the rounding of terms that a format counts in another way."""
    if qubo.is_integer:
        return one == other
    scale = float(np.abs(qubo.weights).sum() + np.abs(qubo.linear).sum()) + abs(qubo.offset)
    return abs(one - other) <= 1e-12 * scale


@given(st.data())
@settings(max_examples=250, deadline=None)
def test_every_problem_survives_a_round_trip_and_its_file_gives_the_same_value(data):
    qubo, _, _ = data.draw(problems())
    if qubo.offset and data.draw(st.booleans()):  # most formats have none
        qubo = replace(qubo, offset=0 * qubo.offset)
    x = np.array(data.draw(assignments(qubo.variables)), np.uint8)
    for format, content in sayable(qubo):
        back = parse(content, format=format)
        assert back.sense == qubo.sense
        if format == "coo":
            assert back.variables <= qubo.variables
        assert back.variables == qubo.variables
        assert close(back.value(x), qubo.value(x), qubo), format
        assert close(recompute(content, x, format=format), qubo.value(x), qubo), format
        if qubo.is_integer:  # a float zero has a sign, which its text may lose
            assert write(back, format) == content


def test_each_format_is_written_for_some_problem_and_recognized():
    written = {format: content for qubo in EXAMPLES for format, content in sayable(qubo)}
    assert written.keys() == WRITERS.keys() == READERS.keys()
    for format, content in written.items():
        if format != "biqmac":  # looks like bqp without its count: the suffix tells
            assert recognise(content) == format
    assert recognise(written["biqmac"], "a.sparse") == "biqmac"


@pytest.mark.parametrize("format", sorted(WRITERS))
def test_nothing_and_a_single_variable_are_problems_in_every_format(format):
    for variables in (0, 1):
        for qubo in EXAMPLES:
            small = Qubo.from_terms(variables, ([], [], []), convention=qubo.convention, sense=qubo.sense)
            with suppress(ValueError):
                content = write(small, format)
                back = parse(content, format=format)
                assert (back.variables, back.couplings, back.value(np.zeros(variables))) == (variables, 0, 0)


@given(st.data())
@settings(max_examples=1500, deadline=None)
def test_a_damaged_file_is_read_or_refused_and_nothing_else(data):
    """Cut, doubled, and with bytes changed at random: a FormatError is all that a reader may raise."""
    qubo = data.draw(st.sampled_from(EXAMPLES))
    format, content = data.draw(st.sampled_from(list(sayable(qubo))))
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged)))
        match data.draw(st.integers(0, 3)):
            case 0:
                del damaged[place : place + data.draw(st.integers(1, 8))]
            case 1:
                damaged[place:place] = data.draw(
                    st.sampled_from([b"9", b"-", b"\n", b"e9", b"nan", b"\0", b"[", b" 1 "])
                )
            case 2:
                damaged[place : place + 1] = data.draw(st.binary(min_size=1, max_size=2))
            case 3:
                damaged[place : place + 4] = data.draw(
                    st.sampled_from([b"\xff" * 4, b"\x7f" * 4, b"99999999999999999999", b"\0\0\0\x80"])
                )
    try_all(bytes(damaged), format)


@given(
    st.binary(max_size=200), st.sampled_from(["", "3 2\n", "1\n3 2\n", "p qubo 0 3 1 1\n", '{"gavel-qubo/', "Min\n"])
)
@example(b"\x93NUMPY\x01\x00\x10\x00", "")
@settings(max_examples=500, deadline=None)
def test_junk_is_refused_and_never_crashes_a_reader(junk, head):
    for format in READERS:
        try_all(head.encode() + junk, format)


def try_all(content, format):
    with suppress(FormatError):
        for qubo in parse_all(content, format=format, memory_bytes_max=MEMORY):
            assert qubo.bytes < MEMORY
            assert np.isfinite(qubo.value(np.ones(qubo.variables)))


@pytest.mark.parametrize(
    ("content", "format"),
    [
        (b"1000000000000 1\n1 2 5\n", "rudy"),
        (b"3 1000000000000\n1 2 5\n", "biqmac"),
        (b"300000 1\n1 2 5\n", "mqlib"),
        (b"p qubo 0 3 1000000000000 1\n0 0 5\n", "qbsolv"),
        (b"# vartype=SPIN\n0 2147483600 5\n", "coo"),
        (b"# vartype=SPIN\n0 1000000000000 5\n", "coo"),
        (write(EXAMPLES[4], "bqm").replace(b"[5, 3]", b"[5, 999999999999]"), "bqm"),
        (write(EXAMPLES[4], "bqm").replace(b"[5, 3]", b"[999999999, 3]"), "bqm"),
        (b'{"format":"gavel-qubo/1","sense":"min","variables":1000000000000}', "json"),
        (b'{"format":"gavel-qubo/1","sense":"min","variables":2,"linear":[' + b"[]," * 10**6 + b"[]]}", "json"),
        (b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }", "npz"),
        (b"Min\n" + b"+ x " * 10**6 + b"\nBin\n x\nEnd\n", "lp"),
    ],
)
def test_what_a_file_only_announces_is_never_allocated(content, format):
    parse(write(EXAMPLES[0], "npz"))  # what is imported and compiled once
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            parse(content, format=format, memory_bytes_max=MEMORY)
        assert tracemalloc.get_traced_memory()[1] < MEMORY + 4 * len(content)
    finally:
        tracemalloc.stop()


@given(problems(variables_max=4, weights=SMALL_INTEGERS))
@settings(max_examples=100, deadline=None)
def test_whatever_is_counted_once_and_minimized_can_be_said_in_every_general_format(problem):
    qubo, _, _ = problem
    once = qubo.counted_once()
    least = once if once.sense == "min" else once.negated()
    formats = {format for format, _ in sayable(least)}
    assert {"bqm", "json", "lp", "npz"} <= formats
    assert ({"coo", "qbsolv"} <= formats) == (least.offset == 0)
    x = np.ones(qubo.variables)
    assert qubo.value(x) == once.value(x) == (1 if once.sense == "min" else -1) * least.value(x)
