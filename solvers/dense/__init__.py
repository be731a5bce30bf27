"""The strategy for problems with most of their couplings there: rows in small integers, annealing, elites that are crossed."""
