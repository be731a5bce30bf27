"""What the state of so many qubits takes. Light to import: no kernel is loaded."""

QUBITS_MAX = 20
"""With one more, listing what all assignments are worth would take longer than a kernel call may."""
BYTES_PER_AMPLITUDE = 64  # two states of two floats, what the assignment is worth, and what is computed of them


def memory_bytes(qubits: int) -> int:
    return BYTES_PER_AMPLITUDE << qubits
