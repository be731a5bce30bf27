"""Problem files: what is read, under which convention, and how a broken one is refused."""

import json
from contextlib import suppress

import numpy as np
import pytest

from solvers.formats import (
    FILE_BYTES_MAX,
    WRITERS,
    FormatError,
    parse,
    parse_all,
    read,
    recognise,
    write,
    write_bqp,
    write_rudy,
)
from solvers.qubo import Convention, Qubo
from solvers.verify import recompute
from tests.solvers.twins import brute_force

RUDY = b"3 3 J\n1 2 5\n1 3 -2\n2 3 1"  # junk behind the counts, no newline at the end
BQP = b"3 4\n1 1 7\n1 2 5\n1 3 -2\n3 3 1\n"
BQP_TWO = b"2\n" + BQP + b"2 1\n1 2 4\n"
QBSOLV = b"c a comment\np qubo 0 3 2 2\n0 0 7\n2 2 1\nc another\n0 1 5\n0 2 -2.5\n"
JSON = json.dumps(
    {
        "format": "gavel-qubo/1",
        "name": "small",
        "sense": "max",
        "variables": 3,
        "linear": [[0, 7], [2, 1]],
        "quadratic": [[0, 1, 5], [0, 2, -2]],
        "offset": 10,
    }
).encode()


@pytest.mark.parametrize(
    ("data", "name", "convention", "sense", "value"),
    [
        (RUDY, "rudy", Convention.MAX_CUT, "max", 4),
        (BQP, "bqp", Convention.COUNTED_TWICE, "max", 7 + 1 + 2 * -2),
        (QBSOLV, "qbsolv", Convention.COUNTED_ONCE, "min", 7 + 1 - 2.5),
        (JSON, "json", Convention.COUNTED_ONCE, "max", 7 + 1 - 2 + 10),
    ],
)
def test_each_format_is_recognized_and_read_under_its_own_convention(data, name, convention, sense, value, tmp_path):
    path = tmp_path / "problem.txt"
    path.write_bytes(data)
    assert recognise(data) == recognise(path) == name
    qubo = read(path)
    assert (qubo.convention, qubo.sense, qubo.variables) == (convention, sense, 3)
    x = [0, 1, 1] if name == "rudy" else [1, 0, 1]
    expected = 3 if name == "rudy" else value
    assert qubo.value(x) == recompute(data, x) == expected
    assert qubo.name == ("small" if name == "json" else "problem")


def test_a_file_of_several_problems_needs_to_be_told_which():
    assert recognise(BQP_TWO) == "bqp"
    assert [qubo.name for qubo in parse_all(BQP_TWO, "beasley.txt")] == ["beasley#1", "beasley#2"]
    with pytest.raises(FormatError, match="2 problems"):
        parse(BQP_TWO)
    with pytest.raises(FormatError, match="no problem 3"):
        parse(BQP_TWO, problem=3)
    assert parse(BQP_TWO, problem=2).value([1, 1]) == recompute(BQP_TWO, [1, 1], problem=2) == 8


PETERSEN = [
    *((i, (i + 1) % 5) for i in range(5)),
    *((i, i + 5) for i in range(5)),
    *((5 + i, 5 + (i + 2) % 5) for i in range(5)),
]


@pytest.mark.parametrize("convention", list(Convention))
def test_petersens_graph_has_a_largest_cut_of_12_in_every_convention_and_format(convention):
    """The cut is Σ (x_i + x_j - 2 x_i x_j), or Σ (1 - s_i s_j) / 2; twice that where halves would be needed."""
    rows, columns = np.array(PETERSEN).T
    ends = np.concatenate((rows, columns))
    coupling = {"max-cut": 1, "counted-twice": -1, "counted-once": -2, "spins": -1}[convention.value]
    single = 1 if convention in (Convention.COUNTED_TWICE, Convention.COUNTED_ONCE) else 0
    weights = np.concatenate((np.full(15, coupling), np.full(30, single)))
    terms = (np.concatenate((rows, ends)), np.concatenate((columns, ends)), weights)
    qubo = Qubo.from_terms(10, terms, convention=convention, sense="max")
    best = 2 * 12 - 15 if convention is Convention.SPINS else 12
    assert brute_force(qubo) == best
    assert brute_force(qubo.negated()) == -best
    for format in WRITERS:
        for one, expected in ((qubo, best), (qubo.negated(), -best)):
            with suppress(ValueError):
                assert brute_force(parse(write(one, format), format=format)) == expected


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"hello world\n", b"{}", b'{"format": "other"}', b"\0" * 5000, b"1.5 2\n"]
)
def test_what_no_reader_knows_is_not_recognized(data):
    assert recognise(data) is None
    with pytest.raises(FormatError, match="no reader"):
        parse(data)


def test_a_suffix_decides_where_contents_don_t():
    ambiguous = b"2 1\n1 2 4\n"
    assert recognise(ambiguous) == recognise(ambiguous, "a.mc") == "rudy"
    assert recognise(ambiguous, "a.bqp") == "bqp"
    assert recognise(BQP, "a.sparse") == "biqmac"
    assert recognise(b"# by MQLib\n" + BQP) == "mqlib"


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"3 3\n1 2 500000\n1 3 -200000\n", 4, "3 lines of terms are announced, 2 are there"),
        (b"3 1\n1 2 5\n1 3 -2\n", 3, "more lines than announced: '1 3 -2'"),
        (b"3 1\n1 4 5\n", 2, "index 4 is out of range 1 to 3"),
        (b"3 1\n0 1 5\n", 2, "index 0 is out of range 1 to 3"),
        (b"3 1\n1 2 nan\n", 2, "should be finite, not 'nan'"),
        (b"3 2\n1 2 1\n1 3 inf\n", 3, "should be finite, not 'inf'"),
        (b"3 1\n1 2 x\n", 2, "a weight should be a number, not 'x'"),
        (b"3 1\n1 two 5\n", 2, "an index should be a whole number, not 'two'"),
        (b"3 2\n1 2 5\n1 3 99999999999999999999\n", 3, "does not fit 64 bits"),
        (b"3 1\n1 2 " + b"9" * 5000 + b"\n", 2, "finite|64 bits"),
        (b"3 2\n1 2 4000000000000000000\n1 3 4000000000000000000\n", 1, "overflow"),
        (b"3 1000000000000\n1 2 5\n", 1, "1000000000000 lines of terms are announced; the file has room for at most 1"),
        (b"1000000000000 1\n1 2 5\n", 1, "between 0 and"),
        (b"2000000000 1\n1 2 5\n", 1, "bytes of memory"),
        (b"9999999\n3 1\n1 2 5\n", 1, "has no room"),
        (b"2\n3 1\n1 2 5\n", 4, "2 problems are announced, 1 are there"),
        (b"p qubo 0 3 1 1\n0 1 5\n0 0 5\n", 2, "a diagonal term should be here"),
        (b"p qubo 0 3 0 2\n0 1 5\n0 0 5\n", 3, "a coupling term should be here"),
        (b"p qubo 0 3 0\n", 1, "the number of couplers should be a whole number"),
        (b"p qubo 0 3 1 1\n0 0 5\n3 1 5\n", 3, "index 3 is out of range 0 to 2"),
        (b"p qubo 0 3 -1 1\n0 0 5\n", 1, "negative"),
        (JSON.replace(b"10}", b"NaN}"), 0, "finite, not NaN"),
        (JSON.replace(b"10}", b"1e999}"), 0, "/offset"),
        (JSON.replace(b"[0, 1, 5]", b"[0, 3, 5]"), 0, "/quadratic/0: index 3 is out of range 0 to 2"),
        (JSON.replace(b"[2, 1]", b"[2]"), 0, "/linear/1"),
        (JSON.replace(b"[2, 1]", b"[2, true]"), 0, "/linear/1"),
        (JSON.replace(b'"max"', b'"up"'), 0, "/sense"),
        (JSON.replace(b"3,", b"-3,"), 0, "/variables"),
        (JSON.replace(b'"variables": 3', b'"variables": 1000000000000'), 0, "between 0 and"),
        (JSON.replace(b'"offset"', b'"ofset"'), 0, "/ofset: an unknown field"),
        (JSON[:-1], 1, "delimiter"),
        (JSON.replace(b"small", b"sm\xffll"), 0, "not JSON"),
        (b'{"gavel-qubo/": ' + b"[" * 100_000, 0, "not JSON"),
    ],
)
def test_a_broken_file_is_refused_with_the_line_and_the_reason(data, line, reason):
    with pytest.raises(FormatError, match=reason) as refused:
        parse(data)
    assert refused.value.line == line


def test_two_gigabytes_of_zeros_are_refused_unread(tmp_path):
    path = tmp_path / "zeros.txt"
    with path.open("wb") as file:
        file.truncate(2 * 2**30)
    assert recognise(path) is None
    with pytest.raises(FormatError, match=f"2147483648 bytes; at most {FILE_BYTES_MAX}"):
        read(path)


def test_only_what_a_format_can_say_is_written_in_it():
    cut, once = parse(RUDY), parse(JSON)
    with pytest.raises(ValueError, match="max-cut"):
        write_rudy(once)
    with pytest.raises(ValueError, match="counted twice"):
        write_bqp(cut)
    with pytest.raises(ValueError, match="no reader is called"):
        parse(RUDY, format="other")
