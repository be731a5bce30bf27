"""Quantum algorithms, simulated: the state of all qubits is kept whole, so their number is small."""
