"""Tests of solvers.formats."""
