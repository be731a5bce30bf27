"""Tests of `solvers/sparse`."""
