"""Tests of the dense strategy: kernels against slow twins, elites, and what a run finds."""
