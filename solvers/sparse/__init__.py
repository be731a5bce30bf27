"""Sparse problems of small whole numbers: annealing of 64 replicas in the bits of a word."""
