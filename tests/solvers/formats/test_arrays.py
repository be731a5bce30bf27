"""Matrices as numpy and scipy.sparse save them."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from solvers.formats import FormatError, parse, write
from solvers.generators import toroidal_grid
from solvers.qubo import Convention, Qubo
from solvers.verify import recompute

MATRIX = np.array([[1, -2, 0], [5, 0, 0], [0, 7, -4]])


def saved(matrix):
    file = io.BytesIO()
    sparse.save_npz(file, matrix)
    return file.getvalue()


def archive(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32, np.float64])
def test_scipys_matrices_are_read_even_asymmetric_ones(kind, dtype):
    content = saved(sparse.coo_array(MATRIX.astype(dtype)).asformat(kind))
    qubo = parse(content)
    assert qubo.is_integer == (np.dtype(dtype).kind == "i")
    for x in np.ndindex(2, 2, 2):
        assert qubo.value(x) == recompute(content, x) == np.array(x) @ MATRIX @ np.array(x)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_square_array_is_read(order):
    content = npy(np.array(MATRIX, order=order))
    for x in np.ndindex(2, 2, 2):
        assert parse(content).value(x) == recompute(content, x) == np.array(x) @ MATRIX @ np.array(x)


def test_what_we_write_scipy_reads():
    grid = toroidal_grid(4, 5, 1)
    matrix = sparse.load_npz(io.BytesIO(write(grid, "npz")))
    assert (matrix.shape, matrix.nnz) == ((20, 20), 40)


@given(st.integers(0, 6), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_a_problem_as_a_sparse_matrix_and_back_has_the_same_values(size, seed):
    rng = np.random.default_rng(seed)
    for convention in Convention:
        terms = (rng.integers(0, max(1, size), size), rng.integers(0, max(1, size), size), rng.integers(-9, 9, size))
        qubo = Qubo.from_terms(size, terms, convention=convention, sense="max")
        nothing = qubo.value(np.zeros(size))
        back = Qubo.from_csr(qubo.to_csr(), sense="max", offset=nothing)
        x = rng.integers(0, 2, size)
        assert back.value(x) == qubo.value(x) == x @ qubo.to_dense() @ x + nothing


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (saved(sparse.csr_array(MATRIX))[:-30], "zip"),
        (archive(a=MATRIX), "'format' that scipy.sparse saves is missing"),
        (saved(sparse.dia_array(MATRIX)), "csr, csc and coo are read, not 'dia'"),
        (saved(sparse.csr_array(MATRIX[:2])), "square"),
        (saved(sparse.csr_array(MATRIX / np.nan)), "NaN"),
        (npy(np.array([{}])), "not plain numbers"),
        (npy(np.zeros((2, 3))), "square"),
        (npy(MATRIX)[:-1], "9 numbers are announced; 71 bytes"),
        (npy(MATRIX).replace(b"(3, 3)", b"(3,-3)"), "not plain numbers"),
        (npy(MATRIX).replace(b"8', 'f", b"7', 'f"), "7 is no kind of number"),
        (archive(format=np.array(b"csr"), shape=[3, 3], indptr=[0, 9, 1, 2], indices=[0, 1], data=[1, 2]), "indptr"),
        (archive(format=np.array(b"csr"), shape=[3, 3], indptr=[0, 1, 1, 2], indices=[0, 8], data=[1, 2]), "index 8"),
        (archive(format=np.array(b"coo"), shape=[3, 3], row=[0], col=[0, 1], data=[1, 2]), "as many of each"),
        (archive(format=np.array(b"coo"), shape=[10**12] * 2, row=[0], col=[0], data=[1]), "between 0 and"),
    ],
)
def test_a_broken_file_is_refused_by_name(content, reason):
    with pytest.raises(FormatError, match=reason):
        parse(content, format="npz")


def test_an_array_that_unpacks_to_more_than_allowed_is_refused_unpacked():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in ("format", "shape", "indptr", "indices", "data"):
            packed.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + b"\0" * 10_000_000)
    with pytest.raises(FormatError, match="left of the memory allowed"):
        parse(file.getvalue(), memory_bytes_max=1_000_000)
