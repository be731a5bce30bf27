"""The byte parser against the slow reader that defines it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.formats import triples
from solvers.formats.lines import FormatError, lines
from solvers.formats.triples import _read_slowly, has_diagonal, read_triples, write_triples

INTEGER = st.one_of(st.integers(0, 12), st.integers(-(10**20), 10**20))
WEIGHT = st.one_of(
    INTEGER.map(str), st.floats().map(repr), st.sampled_from(["+7", "-", "1_0", "0x1", "1e3", "٣", "nan", ""])
)
BLANK = st.sampled_from([" ", "\t", "  "])
ENDING = st.sampled_from(["\n", "\r\n", " \n", "\n\n", "\nc a comment\n", "\n# 1 2 3\n", " 9\n", ""])


@st.composite
def bodies(draw):
    """Lines of terms, most of them right."""
    text = ""
    count = draw(st.integers(0, 6))
    for _ in range(count):
        index = st.integers(1, 9) if draw(st.integers(0, 9)) else INTEGER
        weight = draw(INTEGER.map(str) if draw(st.booleans()) else WEIGHT)
        text += f"{draw(index)}{draw(BLANK)}{draw(index)}{draw(BLANK)}{weight}"
        text += draw(ENDING) if draw(st.booleans()) else "\n"
    return text.encode(), max(0, count + draw(st.sampled_from([0, 0, 0, 0, 1, -1])))


def outcome(reader, data, count):
    try:
        rows, columns, weights, end = reader(data, 0, count, 9, 1)
    except FormatError:
        return "refused"
    return rows.tolist(), columns.tolist(), weights.tolist(), weights.dtype.kind, len(list(lines(data, end)))


def read_by_kernels(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triples, "SPLIT_BYTES_MAX", -1)
        return read_triples(*arguments)


@given(bodies())
@settings(max_examples=800)
def test_the_fast_readers_agree_with_the_slow_one(body):
    slow = outcome(_read_slowly, *body)
    assert outcome(read_triples, *body) == slow
    assert outcome(read_by_kernels, *body) == slow


LINES = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(-20, 20)), max_size=40)


@given(LINES, st.sampled_from(["\n", "\r\n", " \n", "\n# no\n"]), st.integers(0, 40))
@settings(max_examples=300, deadline=None)
def test_a_diagonal_is_met_by_kernels_where_there_is_one(terms, ending, before):
    written = [f"{i} {j} {weight}{ending}" for i, j, weight in terms]
    data, stop = "".join(written).encode(), len("".join(written[:before]))
    expected = any(i == j for i, j, _ in terms[:before])
    assert has_diagonal(data, 0, stop, 0) == has_diagonal(data, 0, stop, 10**9) == expected


@given(st.binary(max_size=60), st.integers(0, 5))
@settings(max_examples=500)
def test_junk_is_read_by_neither(data, count):
    slow = outcome(_read_slowly, data, count)
    assert outcome(read_triples, data, count) == slow
    assert outcome(read_by_kernels, data, count) == slow


def test_announced_lines_that_the_file_has_no_room_for_are_refused_before_anything_is_allocated():
    with pytest.raises(
        FormatError, match="1000000000000 lines of terms are announced; the file has room for at most 1"
    ):
        read_triples(b"1 2 3\n", 0, 10**12, 9, 1)


@given(
    st.lists(
        st.tuples(st.integers(0, 2**31 - 3), st.integers(0, 2**31 - 3), st.integers(-(10**17), 10**17)), max_size=9
    )
)
def test_written_lines_read_back(terms):
    rows, columns, weights = (np.array([term[k] for term in terms], kind) for k, kind in enumerate(("i4", "i4", "i8")))
    data = write_triples(rows, columns, weights, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triples, "JOINED_MAX", 0)
        assert write_triples(rows, columns, weights, 1) == data
    assert data.decode() == "".join(f"{i + 1} {j + 1} {w}\n" for i, j, w in terms)
    if terms:
        back = read_triples(data, 0, len(terms), 2**31 - 1, 1)
        assert [part.tolist() for part in back[:3]] == [rows.tolist(), columns.tolist(), weights.tolist()]
