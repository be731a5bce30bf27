"""Tests of the simulated quantum algorithms."""
